//! The JSON that the database holds: the texts that earlier releases wrote are read,
//! and written back the same.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    account::LatestSnapshots,
    account_snapshot::AccountSnapshot,
    by_claim::ByClaim,
    checkout_session::{self, CheckoutSession, PaymentStatus},
    ids::BookingId,
    invoice::{Invoice, Status},
    merge::{EventOrder, Register, value},
    ownership::Claim,
};

/// Reads a stored text and checks that it is written back the same.
fn read<T: Serialize + DeserializeOwned>(text: &str) -> T {
    let read: T = serde_json::from_str(text).unwrap();
    let stored: Value = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), stored);
    // The database gives a value, not a text.
    let from_value: T = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(serde_json::to_value(&from_value).unwrap(), stored);
    read
}

fn claim(account: &str, booking: Option<i32>) -> Claim {
    Claim {
        account: account.into(),
        booking: booking.map(BookingId),
    }
}

fn order(rank: u8, created: i64, event_id: &str) -> EventOrder {
    EventOrder {
        rank,
        created,
        event_id: event_id.into(),
    }
}

const INVOICE: &str = r#"[
    [
        { "account": "", "booking": null },
        {
            "status": {
                "value": "draft",
                "version": { "rank": 0, "created": 1760000003, "event_id": "evt_3" }
            },
            "total": null,
            "currency": null,
            "created": null,
            "number": null,
            "hosted_url": null,
            "pdf_url": null
        }
    ],
    [
        { "account": "acct_1", "booking": 7 },
        {
            "status": {
                "value": "paid",
                "version": { "rank": 3, "created": 1760000002, "event_id": "evt_2" }
            },
            "total": {
                "value": 0,
                "version": { "rank": 3, "created": 1760000002, "event_id": "evt_2" }
            },
            "currency": {
                "value": "eur",
                "version": { "rank": 1, "created": 1760000001, "event_id": "evt_1" }
            },
            "created": {
                "value": 1760000000,
                "version": { "rank": 1, "created": 1760000001, "event_id": "evt_1" }
            },
            "number": {
                "value": "A-1",
                "version": { "rank": 1, "created": 1760000001, "event_id": "evt_1" }
            },
            "hosted_url": {
                "value": "https://invoice.stripe.com/i/1",
                "version": { "rank": 1, "created": 1760000001, "event_id": "evt_1" }
            },
            "pdf_url": {
                "value": "https://pay.stripe.com/invoice/1/pdf",
                "version": { "rank": 1, "created": 1760000001, "event_id": "evt_1" }
            }
        }
    ]
]"#;

#[test]
fn a_stored_invoice_is_read_and_written_back_the_same() {
    let by_claim: ByClaim<Invoice> = read(INVOICE);
    let [platform, host] = by_claim.parts().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(*platform.0, claim("", None));
    assert_eq!(*host.0, claim("acct_1", Some(7)));
    let status = |value, order| Register { value, order };
    let draft = status(Status::Draft, order(0, 1_760_000_003, "evt_3"));
    assert_eq!(platform.1.status, draft);
    assert_eq!(platform.1.total, None);
    let paid = status(Status::Paid, order(3, 1_760_000_002, "evt_2"));
    assert_eq!(host.1.status, paid);
    let first = order(1, 1_760_000_001, "evt_1");
    assert_eq!(value(&host.1.total), Some(&0));
    let texts = [
        (&host.1.currency, "eur"),
        (&host.1.number, "A-1"),
        (&host.1.hosted_url, "https://invoice.stripe.com/i/1"),
        (&host.1.pdf_url, "https://pay.stripe.com/invoice/1/pdf"),
    ];
    for (register, text) in texts {
        let register = register.as_ref().unwrap();
        assert_eq!((&*register.value, &register.order), (text, &first));
    }
    assert_eq!(value(&host.1.created), Some(&1_760_000_000));
}

const SESSION: &str = r#"[
    [
        { "account": "acct_1", "booking": 7 },
        {
            "latest": { "rank": 0, "created": 1760000006, "event_id": "evt_6" },
            "payment_status": {
                "value": "paid",
                "version": { "rank": 1, "created": 1760000006, "event_id": "evt_6" }
            },
            "status": {
                "value": "complete",
                "version": { "rank": 1, "created": 1760000006, "event_id": "evt_6" }
            },
            "invoice": {
                "value": "in_1",
                "version": { "rank": 0, "created": 1760000004, "event_id": "evt_4" }
            },
            "payment_intent": {
                "value": "pi_1",
                "version": { "rank": 0, "created": 1760000004, "event_id": "evt_4" }
            }
        }
    ],
    [
        { "account": "acct_2", "booking": null },
        {
            "latest": { "rank": 0, "created": 1760000005, "event_id": "evt_5" },
            "payment_status": null,
            "status": {
                "value": "expired",
                "version": { "rank": 1, "created": 1760000005, "event_id": "evt_5" }
            },
            "invoice": null,
            "payment_intent": null
        }
    ]
]"#;

#[test]
fn a_stored_session_is_read_and_written_back_the_same() {
    let by_claim: ByClaim<CheckoutSession> = read(SESSION);
    let [named, unnamed] = by_claim.parts().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(*named.0, claim("acct_1", Some(7)));
    assert_eq!(*unnamed.0, claim("acct_2", None));
    let (named, unnamed) = (named.1, unnamed.1);
    assert_eq!(named.latest, order(0, 1_760_000_006, "evt_6"));
    assert_eq!(value(&named.payment_status), Some(&PaymentStatus::Paid));
    let status = named.status.clone().unwrap();
    assert_eq!(status.value, checkout_session::Status::Complete);
    assert_eq!(status.order, order(1, 1_760_000_006, "evt_6"));
    assert_eq!(value(&named.invoice), Some(&"in_1".into()));
    let intent = named.payment_intent.clone().unwrap();
    assert_eq!(intent.value, "pi_1");
    assert_eq!(intent.order, order(0, 1_760_000_004, "evt_4"));
    let expired = &checkout_session::Status::Expired;
    assert_eq!(value(&unnamed.status), Some(expired));
    assert_eq!((&unnamed.payment_status, &unnamed.invoice), (&None, &None));
}

const ACCOUNT: &str = r#"{
    "created": 1760000007,
    "candidates": {
        "evt_7": {
            "after": {
                "type": null,
                "charges_enabled": false,
                "payouts_enabled": false,
                "details_submitted": false,
                "card_payments": null,
                "requirements": {
                    "currently_due": [],
                    "past_due": [],
                    "eventually_due": [],
                    "pending_verification": [],
                    "disabled_reason": null,
                    "current_deadline": null
                },
                "future_currently_due": [],
                "future_deadline": null,
                "country": "PT",
                "default_currency": null,
                "host_id": null,
                "created": null
            },
            "before": null
        },
        "evt_8": { "after": SNAPSHOT, "before": SNAPSHOT }
    },
    "api_snapshot": API_SNAPSHOT
}"#;

const SNAPSHOT: &str = r#"{
    "type": "express",
    "charges_enabled": true,
    "payouts_enabled": true,
    "details_submitted": true,
    "card_payments": "active",
    "requirements": {
        "currently_due": ["person.id"],
        "past_due": ["person.address"],
        "eventually_due": ["person.id", "person.email"],
        "pending_verification": ["person.phone"],
        "disabled_reason": "requirements.past_due",
        "current_deadline": 1770000000
    },
    "future_currently_due": ["person.phone"],
    "future_deadline": 1780000000,
    "country": "ES",
    "default_currency": "eur",
    "host_id": "42",
    "created": 1750000000
}"#;

#[test]
fn stored_snapshots_of_an_account_are_read_and_written_back_the_same() {
    let text = |api_snapshot: &str| {
        let text = ACCOUNT.replace("API_SNAPSHOT", api_snapshot);
        text.replace("SNAPSHOT", SNAPSHOT)
    };
    let latest: LatestSnapshots = read(&text("null"));
    assert_eq!(
        (latest.created, &latest.api_snapshot),
        (1_760_000_007, &None)
    );
    let ids: Vec<&String> = latest.candidates.keys().collect();
    assert_eq!(ids, ["evt_7", "evt_8"]);
    assert_eq!(latest.candidates["evt_7"].before, None);
    let portuguese = AccountSnapshot {
        country: Some("PT".into()),
        ..AccountSnapshot::default()
    };
    assert_eq!(latest.candidates["evt_7"].after, portuguese);
    let after = &latest.candidates["evt_8"].after;
    assert_eq!(after.account_type.as_deref(), Some("express"));
    assert_eq!(after.requirements.current_deadline, Some(1_770_000_000));
    assert_eq!(latest.candidates["evt_8"].before.as_ref(), Some(after));

    let resolved: LatestSnapshots = read(&text(SNAPSHOT));
    assert_eq!(resolved.api_snapshot.as_ref(), Some(after));
    assert!(latest.winner().unwrap().is_tied);
    assert!(!resolved.winner().unwrap().is_tied);
}
