//! Events of invoices and sessions.

use proptest::prelude::*;

use super::START;
use harness::reference::{Said, What};

prop_compose! {
    fn what()(
        invoice in 0..4_u8,
        session in 0..3_u8,
        is_session in prop::bool::weighted(0.3),
        kind in prop::sample::select(vec!["invoice.updated", "invoice.paid", "invoice.deleted"]),
        status in prop::sample::select(vec![
            None, Some("draft"), Some("open"), Some("uncollectible"), Some("paid"), Some("void"),
        ]),
        total in 0..5_i64,
        made in 0..2_i64,
        pdf in prop::option::of(0..3_u8),
        linked in prop::option::of(0..4_u8),
        currency in prop::sample::select(vec!["eur", "jpy", "kwd"]),
        payment in prop::sample::select(vec![None, Some("unpaid"), Some("paid"), Some("no_payment_required")]),
        session_status in prop::sample::select(vec![None, Some("open"), Some("complete"), Some("expired")]),
    ) -> What {
        if is_session {
            What::Session {
                id: format!("cs_{session}"),
                // A session's invoice does not change once it is there.
                invoice: linked.map(|_| format!("in_{session}")),
                payment,
                status: session_status,
            }
        } else {
            What::Invoice {
                id: format!("in_{invoice}"),
                kind: kind.into(),
                status: status.map(str::to_owned),
                total: total * 100,
                currency: currency.into(),
                made: START + made,
                pdf: pdf.map(|pdf| format!("https://pay.stripe.com/{pdf}")),
            }
        }
    }
}

/// Up to 13 events about four invoices, three sessions, three bookings and
/// three accounts, in four seconds: nearly everything collides.
pub fn sayings() -> impl Strategy<Value = Vec<Said>> {
    let one = (
        what(),
        0..4_i64,
        prop::option::weighted(0.6, 1..4_i32),
        prop::sample::select(vec!["acct_a", "acct_a", "acct_b", ""]),
    );
    prop::collection::vec(one, 1..14).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(index, (what, second, booking, account))| Said {
                id: format!("evt_{index:02}"),
                created: START + second,
                account: account.into(),
                booking,
                what,
            })
            .collect()
    })
}
