//! The samples are signed right, of a real size, and of the shape of their version.

use harness::stripe::{
    Account, ApiVersion, Charge, CheckoutSession, CreditNote, Event, Invoice, application, sign,
    thin_event,
};
use serde_json::Value;

/// The hex digits were made with `openssl dgst -sha256 -hmac SECRET`.
#[test]
fn signatures_are_those_that_openssl_makes() {
    let cases = [
        (
            "whsec_harness",
            1_760_000_000,
            r#"{"id":"evt_1","object":"event"}"#,
            "52194f9c0d3d6f9ba16f5d9302c4f3118a26afbef9e3131a09e0aed6ce6b4cbe",
        ),
        (
            "whsec_harness",
            1_760_000_000,
            "",
            "bb65075328e87cf4d6003fb448936baa7d0df03fd040444d88d7c2a584294cc4",
        ),
        (
            "clave con eñe",
            1,
            "áé",
            "6781e6690f0e7cfa0ac3e67ce7eea77e932d8842285fb22c41f63c2307c673f9",
        ),
    ];
    for (secret, timestamp, body, digits) in cases {
        assert_eq!(
            sign(secret, timestamp, body.as_bytes()),
            format!("t={timestamp},v1={digits}")
        );
    }
}

#[test]
fn events_are_as_large_as_real_ones() {
    for version in ApiVersion::ALL {
        let objects = [
            Invoice {
                version,
                ..Invoice::default()
            }
            .value(),
            CheckoutSession {
                version,
                ..CheckoutSession::default()
            }
            .value(),
            Account {
                version,
                ..Account::default()
            }
            .value(),
            Charge {
                version,
                ..Charge::default()
            }
            .value(),
            CreditNote::default().value(),
        ];
        for object in objects {
            let size = Event::new("evt_1", "sample", object)
                .of_account("acct_1SampleHost")
                .bytes()
                .len();
            assert!(
                (1_000..6_500).contains(&size),
                "{size} bytes in {}",
                version.name()
            );
        }
    }
}

#[test]
fn invoices_lose_their_payment_fields_with_basil() {
    for version in ApiVersion::ALL {
        let invoice = Invoice {
            version,
            ..Invoice::default()
        }
        .value();
        for field in ["payment_intent", "paid", "charge", "subscription"] {
            let expected = version < ApiVersion::V2025_03_31Basil;
            assert_eq!(
                invoice.get(field).is_some(),
                expected,
                "{field} in {}",
                version.name()
            );
        }
    }
}

#[test]
fn charges_lose_their_invoice_with_basil() {
    for version in ApiVersion::ALL {
        let charge = Charge {
            version,
            ..Charge::default()
        };
        let has_one = charge.value().get("invoice").is_some();
        let expected = version < ApiVersion::V2025_03_31Basil;
        assert_eq!(has_one, expected, "{}", version.name());
    }
}

#[test]
fn a_draft_has_no_number_and_no_pdf() {
    let draft = Invoice {
        status: "draft".to_owned(),
        ..Invoice::default()
    }
    .value();
    for field in ["number", "invoice_pdf", "hosted_invoice_url"] {
        assert_eq!(draft[field], Value::Null, "{field}");
    }
    assert!(Invoice::default().value()["invoice_pdf"].is_string());
}

#[test]
fn an_event_holds_its_account_and_what_was_before() {
    let mut event = Event::new(
        "evt_1",
        "account.updated",
        Account::fresh("acct_1A", "host-1"),
    );
    assert_eq!(event.value().get("account"), None);
    event.previous_attributes = Some(serde_json::json!({ "details_submitted": true }));
    let value = event.of_account("acct_1A").at(5).value();
    assert_eq!(value["account"], "acct_1A");
    assert_eq!(value["created"], 5);
    assert_eq!(
        value["data"]["previous_attributes"]["details_submitted"],
        true
    );
    assert_eq!(value["data"]["object"]["metadata"]["hostId"], "host-1");
}

#[test]
fn an_application_does_not_name_the_account() {
    assert!(!application().to_string().contains("acct_"));
}

#[test]
fn a_thin_event_names_its_account_in_its_context() {
    let bytes = thin_event("evt_1", "v2.core.account.updated", "acct_1A");
    let event: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(event["context"], "acct_1A");
    assert_eq!(event.get("data"), None);
}
