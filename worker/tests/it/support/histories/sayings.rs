//! Events of invoices and sessions.

use proptest::prelude::*;

use super::START;
use harness::reference::{Said, What};

prop_compose! {
    fn what()(
        invoice in 0..4_u8,
        session in 0..3_u8,
        is_session in prop::bool::weighted(0.3),
        intent in prop::option::of(0..3_u8),
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
        session_status in prop::sample::select(vec![
            None, Some("open"), Some("complete"), Some("expired"), Some("payment_failed"),
        ]),
        is_told in prop::bool::weighted(0.2),
    ) -> What {
        if is_session {
            What::Session {
                id: format!("cs_{session}"),
                // A session's invoice does not change once it is there.
                invoice: linked.map(|_| format!("in_{session}")),
                payment,
                status: session_status,
                intent: intent.map(|intent| format!("pi_{intent}")),
                is_told,
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

prop_compose! {
    fn given_back()(
        id in 0..3_u8,
        is_note in any::<bool>(),
        amount in 0..5_i64,
        intent in prop::option::weighted(0.8, 0..3_u8),
        // Most charges name no invoice; a note nearly always does.
        named in prop::option::weighted(0.3, 0..4_u8),
        noted in prop::option::weighted(0.9, 0..4_u8),
        is_void in prop::bool::weighted(0.2),
    ) -> What {
        let invoice = |number: Option<u8>| number.map(|number| format!("in_{number}"));
        if is_note {
            What::Note {
                id: format!("cn_{id}"),
                total: amount * 100,
                is_void,
                invoice: invoice(noted),
            }
        } else {
            What::Charge {
                id: format!("ch_{id}"),
                refunded: amount * 100,
                intent: intent.map(|intent| format!("pi_{intent}")),
                invoice: invoice(named),
            }
        }
    }
}

/// When commands tell of sessions: before Stripe sent its first event.
const BEFORE_ALL: i64 = 1_000;

/// The booking for which a command made the session that it tells of.
fn told_of(what: &What) -> Option<i32> {
    let What::Session {
        id, is_told: true, ..
    } = what
    else {
        return None;
    };
    let number: i32 = id.strip_prefix("cs_")?.parse().ok()?;
    Some(number + 1)
}

/// Up to 13 events about four invoices, three sessions, three bookings and
/// three accounts, with refunds and credit notes in between, in four seconds:
/// nearly everything collides.
pub fn sayings() -> impl Strategy<Value = Vec<Said>> {
    let one = (
        prop_oneof![3 => what(), 1 => given_back()],
        0..4_i64,
        prop::option::weighted(0.6, 1..4_i32),
        prop::sample::select(vec!["acct_a", "acct_a", "acct_b", ""]),
    );
    prop::collection::vec(one, 1..14).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(
                |(index, (what, second, booking, account))| match told_of(&what) {
                    Some(booking) => Said {
                        id: format!("told_{index:02}"),
                        created: BEFORE_ALL + second,
                        account: account.into(),
                        booking: Some(booking),
                        what,
                    },
                    None => Said {
                        id: format!("evt_{index:02}"),
                        created: START + second,
                        account: account.into(),
                        // Charges and notes name none.
                        booking: booking.filter(|_| {
                            matches!(what, What::Invoice { .. } | What::Session { .. })
                        }),
                        what,
                    },
                },
            )
            .collect()
    })
}
