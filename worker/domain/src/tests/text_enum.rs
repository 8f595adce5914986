//! The texts of the enums, as the database and the main app have them.

use serde_json::{from_str, to_string, to_value};

use crate::{checkout_session, history, invoice, onboarding, outcome, rejection, rows};

/// Checks that the variants have these texts, that each is read back, and that no
/// other text is read.
macro_rules! assert_texts {
    ($name:ty, $texts:expr) => {{
        let texts: Vec<&str> = <$name>::ALL.iter().map(|one| one.as_str()).collect();
        assert_eq!(texts, $texts);
        for one in <$name>::ALL {
            assert_eq!(<$name>::parse(one.as_str()), Some(*one));
            assert_eq!(<$name>::parse(&format!("{} ", one.as_str())), None);
        }
        for unknown in ["", "unknown", "Applied", stringify!($name)] {
            assert_eq!(<$name>::parse(unknown), None, "{unknown}");
        }
    }};
}

#[test]
fn every_text_is_read_back_and_no_other_is() {
    assert_texts!(
        invoice::Status,
        ["draft", "open", "uncollectible", "paid", "void", "deleted"]
    );
    assert_texts!(
        checkout_session::PaymentStatus,
        ["unpaid", "paid", "no_payment_required"]
    );
    assert_texts!(
        checkout_session::Status,
        ["open", "complete", "expired", "payment_failed"]
    );
    assert_texts!(
        history::ChangeKind,
        ["updated", "authorized", "deauthorized"]
    );
    assert_texts!(
        onboarding::Status,
        [
            "UNKNOWN",
            "DISCONNECTED",
            "REJECTED",
            "IN_REVIEW",
            "PAUSED",
            "INCOMPLETE",
            "RESTRICTED",
            "RESTRICTED_SOON",
            "ENABLED",
        ]
    );
    assert_texts!(
        outcome::Outcome,
        ["applied", "stale", "ignored", "dead", "replayed"]
    );
    assert_texts!(
        rows::WaitingFor,
        [
            "no_booking",
            "booking_missing",
            "owner_unknown",
            "booking_claimed_by_other_account",
            "amount_unknown",
            "too_many_bookings",
            "too_many_objects",
        ]
    );
    assert_texts!(rows::RowStatus, ["DRAFT", "SENT", "PAID"]);
}

#[test]
fn an_invoice_that_waits_for_a_claim_has_the_code_of_the_rejection() {
    let waiting = rows::WaitingFor::Claim.as_str();
    assert_eq!(waiting, rejection::CLAIMED_BY_OTHER_ACCOUNT);
}

/// Checks that JSON holds the text of each variant, and that no other text is read.
macro_rules! assert_json {
    ($($name:ty),+) => {$(
        for one in <$name>::ALL {
            let json = to_string(one).unwrap();
            assert_eq!(json, format!("{:?}", one.as_str()));
            assert_eq!(from_str::<$name>(&json).unwrap(), *one);
            let value = to_value(one).unwrap();
            assert_eq!(serde_json::from_value::<$name>(value).unwrap(), *one);
        }
        let error = from_str::<$name>(r#""other""#).unwrap_err().to_string();
        assert!(error.contains("\"other\" is no"), "{error}");
        assert!(from_str::<$name>("1").is_err());
    )+};
}

#[test]
fn json_holds_the_text_of_a_status() {
    assert_json!(
        invoice::Status,
        checkout_session::PaymentStatus,
        checkout_session::Status
    );
}
