//! Accounts that name one booking, and bookings that say whose they are.

use harness::stripe::Event;
use serde_json::json;

use super::{Lab, invoices::paid};

/// Why an event is dead whose booking is another account's.
pub const REFUSED: &str = "booking_claimed_by_other_account";
/// How the lab's bookings say whose they are.
pub const OWNER_QUERY: &str = r#"SELECT "account" FROM "Booking" WHERE "id" = $1"#;

/// An event by which an account names booking 7 for an invoice, so many seconds
/// after the first.
pub fn claim(id: &str, account: &str, invoice: &str, after: i64) -> Event {
    let first = paid(id, "7");
    let at = first.created + after;
    let mut claim = first.at(at).of_account(account);
    claim.object["id"] = json!(invoice);
    claim
}

/// A lab whose bookings say whose they are; there is none yet.
pub async fn with_owners() -> Lab {
    let mut lab = Lab::with_bookings(&[]).await;
    lab.client
        .batch_execute(r#"ALTER TABLE "Booking" ADD "account" TEXT"#)
        .await
        .unwrap();
    lab.executor.owner_query = Some(OWNER_QUERY.into());
    lab
}

/// The main app makes booking 7, and the worker sees it.
pub async fn book(lab: &Lab, account: &str) {
    let insert = r#"INSERT INTO "Booking" VALUES (7, $1)"#;
    lab.client.execute(insert, &[&account]).await.unwrap();
    lab.project_pending().await;
}
