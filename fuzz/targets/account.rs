//! Events of connected accounts: what is read of them, and the status they end
//! in.
#![no_main]

use fuzz::{decision, history};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use worker::events::account::{Sign, Standing};
use worker::events::onboarding::{Status, onboarding};
use worker::events::{Event, Fact, snapshot::Snapshot};

const TYPES: [&str; 6] = [
    "account.updated",
    "account.updated",
    "account.updated",
    "account.updated",
    "account.application.authorized",
    "account.application.deauthorized",
];

fuzz_target!(|input: &[u8]| {
    let mut events = Vec::new();
    for body in history::bodies(input, &TYPES) {
        let Some(event) = decision::read(&body) else {
            continue;
        };
        if let (Fact::Account(fact), Some(object)) = (&event.fact, decision::object(&body)) {
            match &fact.sign {
                Sign::Updated(candidate) => {
                    assert_eq!(Some(&*fact.id), object["id"].as_str());
                    check(&candidate.after, &object);
                }
                Sign::Authorized | Sign::Deauthorized => {
                    assert_eq!(Some(&fact.id), event.header.account.as_ref());
                }
            }
        }
        events.push(event);
    }
    for (id, row) in &decision::end_state(&events).accounts {
        let account = row.account().unwrap();
        let winner = account.standing.as_ref().and_then(Standing::winner);
        let snapshot = winner
            .map(|winner| winner.snapshot.clone())
            .unwrap_or_default();
        let shown = onboarding(&account, &snapshot);
        assert_eq!(shown.status == Status::Disconnected, is_cut(&events, id));
        assert!(!shown.can_sell || (snapshot.charges_enabled && !is_cut(&events, id)));
    }
});

/// Whether the newest deauthorisation is at or after every other sign.
fn is_cut(events: &[Event], id: &str) -> bool {
    let newest = |cut: bool| {
        let of_account = events.iter().filter(|event| event.object_id() == Some(id));
        let signs = of_account.filter_map(|event| match &event.fact {
            Fact::Account(fact) => Some((event.header.created, &fact.sign)),
            _ => None,
        });
        let signs = signs.filter(|(_, sign)| (**sign == Sign::Deauthorized) == cut);
        signs.map(|(created, _)| created).max()
    };
    newest(true).is_some() && newest(true) >= newest(false)
}

fn check(snapshot: &Snapshot, object: &Value) {
    let flag = |name: &str| object[name].as_bool().unwrap_or(false);
    assert_eq!(snapshot.charges_enabled, flag("charges_enabled"));
    assert_eq!(snapshot.payouts_enabled, flag("payouts_enabled"));
    assert_eq!(snapshot.details_submitted, flag("details_submitted"));
    assert_eq!(snapshot.kind.as_deref(), decision::text(object, "type"));
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
