//! Events of connected accounts: what is read of them, and the status they end
//! in.
#![no_main]

use domain::account::AccountChange;
use domain::account_snapshot::AccountSnapshot;
use domain::event::EventData;
use domain::onboarding::{Onboarding, Status};
use domain::rows::HostRow;
use fuzz::{decision, history};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use worker::pipeline::delivery::Delivery;

const TYPES: [&str; 6] = [
    "account.updated",
    "account.updated",
    "account.updated",
    "account.updated",
    "account.application.authorized",
    "account.application.deauthorized",
];

fuzz_target!(|input: &[u8]| {
    let mut deliveries = Vec::new();
    for body in history::bodies(input, &TYPES) {
        let Some(delivery) = decision::read(&body) else {
            continue;
        };
        let event = decision::event(&delivery);
        if let (EventData::Account(data), Some(object)) = (&event.data, decision::object(&body)) {
            match &data.change {
                AccountChange::Updated(candidate) => {
                    assert_eq!(Some(&*data.id), object["id"].as_str());
                    check(&candidate.after, &object);
                }
                AccountChange::Authorized(_) | AccountChange::Deauthorized(_) => {
                    assert_eq!(Some(&data.id), event.header.account.as_ref());
                }
                // A thin event has no object.
                AccountChange::Changed | AccountChange::Closed => {}
            }
        }
        deliveries.push(delivery);
    }
    let end = decision::end_state(&deliveries);
    assert!(end.accounts.keys().eq(end.hosts.keys()));
    for (id, account) in &end.accounts {
        let shown = Onboarding::of_account(account);
        let snapshot = account.winner().map(|winner| winner.snapshot.clone());
        let snapshot = snapshot.unwrap_or_default();
        let is_cut = is_cut(&deliveries, id);
        assert_eq!(shown.status == Status::Disconnected, is_cut);
        assert!(!shown.can_sell || (snapshot.charges_enabled && !is_cut));
        assert_eq!(end.hosts[id], HostRow::new(id, account));
    }
});

/// Whether the account was closed, or each sign of connection was followed by a deauthorisation that can be of the
/// same application.
fn is_cut(deliveries: &[Delivery], id: &str) -> bool {
    let events = deliveries.iter().map(decision::event);
    let of_account = events.filter(|event| event.object_id() == Some(id));
    let signs = of_account.filter_map(|event| match &event.data {
        EventData::Account(data) => Some((event.header.created, &data.change)),
        _ => None,
    });
    let signs: Vec<(i64, &AccountChange)> = signs.collect();
    let cuts = signs.iter().filter_map(|(created, change)| match change {
        AccountChange::Deauthorized(application) => Some((*created, application.as_ref())),
        _ => None,
    });
    let cuts: Vec<_> = cuts.collect();
    let is_followed = |(created, change): &(i64, &AccountChange)| {
        let application = match change {
            AccountChange::Deauthorized(_) | AccountChange::Closed => return true,
            AccountChange::Authorized(application) => application.as_ref(),
            AccountChange::Updated(_) | AccountChange::Changed => None,
        };
        cuts.iter().any(|(cut, by)| {
            *cut >= *created && (application.is_none() || by.is_none() || application == *by)
        })
    };
    let is_closed = signs
        .iter()
        .any(|(_, change)| matches!(change, AccountChange::Closed));
    is_closed || (!cuts.is_empty() && signs.iter().all(is_followed))
}

fn check(snapshot: &AccountSnapshot, object: &Value) {
    let flag = |name: &str| object[name].as_bool().unwrap_or(false);
    assert_eq!(snapshot.charges_enabled, flag("charges_enabled"));
    assert_eq!(snapshot.payouts_enabled, flag("payouts_enabled"));
    assert_eq!(snapshot.details_submitted, flag("details_submitted"));
    assert_eq!(
        snapshot.account_type.as_deref(),
        decision::text(object, "type")
    );
    assert_eq!(
        snapshot.country.as_deref(),
        decision::text(object, "country")
    );
    let requirements = &object["requirements"];
    let lists = [
        (
            &snapshot.requirements.currently_due,
            &requirements["currently_due"],
        ),
        (&snapshot.requirements.past_due, &requirements["past_due"]),
        (
            &snapshot.requirements.eventually_due,
            &requirements["eventually_due"],
        ),
        (
            &snapshot.requirements.pending_verification,
            &requirements["pending_verification"],
        ),
        (
            &snapshot.future_currently_due,
            &object["future_requirements"]["currently_due"],
        ),
    ];
    for (kept, list) in lists {
        let given = list.as_array().into_iter().flatten();
        assert!(
            given
                .map(Value::as_str)
                .eq(kept.iter().map(|text| Some(text.as_str())))
        );
    }
    let reason = decision::text(requirements, "disabled_reason");
    assert_eq!(snapshot.requirements.disabled_reason.as_deref(), reason);
}
