//! The main app's rows, apart from what Stripe says: whatever the main app puts in their
//! way, the events are applied, the reason is shown, and the rows follow when it is gone.

use crate::support::{APPLIED, Lab, payments::nth_paid};
use harness::stripe::{Account, Event};

/// The rows of `"Invoice"`, in short.
const SHOWN: &str = r#"SELECT concat_ws(' ', "bookingId", "stripeInvoiceId", "status")
    FROM "Invoice" ORDER BY "bookingId""#;

/// What is said of the pending rows.
const SAID: &str = "SELECT detail FROM stripe.pending_projection ORDER BY kind, id";

/// The event that voids the invoice of [`nth_paid`].
fn voided(index: usize) -> Event {
    let mut event = nth_paid(index);
    event.id = format!("evt_void_{index}");
    event.kind = "invoice.voided".into();
    event.object["status"] = "void".into();
    event.created += 10;
    event
}

fn host(id: &str) -> Event {
    let object = Account {
        id: "acct_h".into(),
        ..Account::default()
    };
    Event::new(id, "account.updated", object.value()).of_account("acct_h")
}

async fn sql(lab: &Lab, statements: &str) {
    lab.client.batch_execute(statements).await.unwrap();
}

/// Takes three payments, of which the main app refuses the second's row, and looks that it
/// alone is pending; then the obstacle goes.
async fn refused(lab: &Lab, obstacle: &str, reason: &str, said: &str, removal: &str) {
    sql(lab, obstacle).await;
    let events: Vec<Event> = (0..3).map(nth_paid).collect();
    assert_eq!(lab.take(&events).await, [APPLIED, APPLIED, APPLIED]);
    assert_eq!(
        lab.rows(SHOWN).await,
        ["1 in_0 PAID", "3 in_2 PAID"],
        "{reason}"
    );
    assert_eq!(lab.pending().await, [format!("booking 2 {reason} 1")]);
    let details = lab.rows(SAID).await;
    assert!(details[0].contains(said), "{details:?}");
    // It is tried again, and refused again.
    lab.project_pending().await;
    assert_eq!(lab.pending().await, [format!("booking 2 {reason} 2")]);
    sql(lab, removal).await;
    lab.project_pending().await;
    assert_eq!(lab.pending().await, Vec::<String>::new(), "{reason}");
    let all = ["1 in_0 PAID", "2 in_1 PAID", "3 in_2 PAID"];
    assert_eq!(lab.rows(SHOWN).await, all, "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_the_main_app_makes_its_row_pending() {
    refused(
        &Lab::new().await,
        r#"ALTER TABLE "Invoice" ADD CONSTRAINT "not_two" CHECK ("bookingId" <> 2)"#,
        "check",
        "not_two",
        r#"ALTER TABLE "Invoice" DROP CONSTRAINT "not_two""#,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_raises_makes_its_row_pending() {
    refused(
        &Lab::new().await,
        r#"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW."bookingId" = 2 THEN RAISE 'no booking two'; END IF; RETURN NEW; END $$;
           CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON "Invoice"
            FOR EACH ROW EXECUTE FUNCTION refuse()"#,
        "refused",
        "no booking two",
        r#"DROP TRIGGER refuse ON "Invoice""#,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_leaves_the_row_out_makes_it_pending() {
    refused(
        &Lab::new().await,
        r#"CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW."bookingId" = 2 THEN RETURN NULL; END IF; RETURN NEW; END $$;
           CREATE TRIGGER leave_out BEFORE INSERT ON "Invoice"
            FOR EACH ROW EXECUTE FUNCTION leave_out()"#,
        "refused",
        "was not written",
        r#"DROP TRIGGER leave_out ON "Invoice""#,
    )
    .await;
}

/// A serialisation failure would undo the whole transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_raises_a_serialisation_failure_makes_its_row_pending() {
    refused(
        &Lab::new().await,
        r#"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW."bookingId" = 2 THEN RAISE 'try again' USING ERRCODE = '40001'; END IF;
               RETURN NEW; END $$;
           CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON "Invoice"
            FOR EACH ROW EXECUTE FUNCTION refuse()"#,
        "refused",
        "try again",
        r#"DROP TRIGGER refuse ON "Invoice""#,
    )
    .await;
}

/// It would refuse the commit, and every event of the batch with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_that_is_deferred_makes_its_row_pending() {
    refused(
        &Lab::new().await,
        r#"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW."bookingId" = 2 THEN RAISE 'too late'; END IF; RETURN NULL; END $$;
           CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON "Invoice"
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"#,
        "refused",
        "too late",
        r#"DROP TRIGGER refuse ON "Invoice""#,
    )
    .await;
}

/// A policy that comes while the worker runs: rows that it hides are not taken for missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_row_level_security_makes_rows_pending() {
    let lab = Lab::new().await;
    lab.take_one(&nth_paid(0)).await;
    sql(
        &lab,
        r#"ALTER TABLE "Invoice" ENABLE ROW LEVEL SECURITY;
           CREATE POLICY "not_two" ON "Invoice" USING ("bookingId" <> 2)"#,
    )
    .await;
    assert_eq!(
        lab.take(&[nth_paid(1), voided(0)]).await,
        [APPLIED, APPLIED]
    );
    let pending = [
        "booking 1 row_level_security 1",
        "booking 2 row_level_security 1",
    ];
    assert_eq!(lab.pending().await, pending);
    assert_eq!(lab.rows(SHOWN).await, ["1 in_0 PAID"]);
    sql(
        &lab,
        r#"DROP POLICY "not_two" ON "Invoice"; ALTER TABLE "Invoice" DISABLE ROW LEVEL SECURITY"#,
    )
    .await;
    lab.project_pending().await;
    assert_eq!(lab.pending().await, Vec::<String>::new());
    assert_eq!(lab.rows(SHOWN).await, ["2 in_1 PAID"]);
}

/// The main app refers to the row, so that it cannot go.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_main_app_refers_to_stays_and_its_invoice_is_void() {
    let lab = Lab::new().await;
    let events: Vec<Event> = (0..2).map(nth_paid).collect();
    lab.take(&events).await;
    sql(
        &lab,
        r#"CREATE TABLE "Reminder" ("invoiceId" integer NOT NULL
            REFERENCES "Invoice" ("id") ON DELETE RESTRICT);
           INSERT INTO "Reminder" SELECT "id" FROM "Invoice" WHERE "bookingId" = 1"#,
    )
    .await;
    assert_eq!(lab.take(&[voided(0), voided(1)]).await, [APPLIED, APPLIED]);
    assert_eq!(lab.rows(SHOWN).await, ["1 in_0 PAID"]);
    let status = "SELECT id || ' ' || status FROM stripe.invoice ORDER BY id";
    assert_eq!(lab.rows(status).await, ["in_0 void", "in_1 void"]);
    assert_eq!(lab.pending().await, ["booking 1 foreign_key 1"]);
    assert!(lab.rows(SAID).await[0].contains("Reminder_invoiceId_fkey"));
    // Further events of the row are applied at no price: its own job tries it.
    for number in 0..3 {
        let mut event = voided(0);
        event.id = format!("evt_again_{number}");
        event.created += number;
        lab.take_one(&event).await;
    }
    assert_eq!(lab.pending().await, ["booking 1 foreign_key 1"]);
    sql(&lab, r#"DELETE FROM "Reminder""#).await;
    lab.project_pending().await;
    assert_eq!(lab.rows(SHOWN).await, Vec::<String>::new());
    assert_eq!(lab.pending().await, Vec::<String>::new());
}

/// What was pending ends as if it had never been, also where its reason is gone because of
/// an event.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_needs_no_change_any_more_is_pending_no_more() {
    let lab = Lab::new().await;
    lab.take_one(&nth_paid(0)).await;
    sql(
        &lab,
        r#"CREATE TABLE "Reminder" ("invoiceId" integer NOT NULL
            REFERENCES "Invoice" ("id") ON DELETE RESTRICT);
           INSERT INTO "Reminder" SELECT "id" FROM "Invoice""#,
    )
    .await;
    lab.take_one(&voided(0)).await;
    assert_eq!(lab.pending().await, ["booking 1 foreign_key 1"]);
    // The booking has another invoice, so its row is updated and stays.
    let mut other = nth_paid(0);
    other.id = "evt_other".into();
    other.object["id"] = "in_other".into();
    lab.take_one(&other).await;
    lab.project_pending().await;
    assert_eq!(lab.rows(SHOWN).await, ["1 in_other PAID"]);
    assert_eq!(lab.pending().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_tables_that_are_locked_hold_up_no_event() {
    for table in ["Invoice", "Booking", "HostOnboarding"] {
        let lab = Lab::with_bookings(&[1, 2]).await;
        let holder = lab.database.connect().await.unwrap();
        let lock = format!(r#"BEGIN; LOCK TABLE "{table}" IN ACCESS EXCLUSIVE MODE"#);
        holder.batch_execute(&lock).await.unwrap();
        let events = [nth_paid(0), nth_paid(1), host("evt_h")];
        assert_eq!(
            lab.take(&events).await,
            [APPLIED, APPLIED, APPLIED],
            "{table}"
        );
        let pending = lab.pending().await;
        // What is in the way of one table is in nobody's of the other.
        let expected: &[&str] = match table {
            "HostOnboarding" => &["host acct_h locked 1"],
            _ => &["booking 1 locked 1", "booking 2 locked 1"],
        };
        assert_eq!(pending, expected, "{table}");
        // The job does not wait for the lock with each of them.
        lab.project_pending().await;
        assert_eq!(lab.pending().await, pending, "{table}");
        holder.batch_execute("COMMIT").await.unwrap();
        lab.project_pending().await;
        assert_eq!(lab.pending().await, Vec::<String>::new(), "{table}");
        assert_eq!(
            lab.rows(SHOWN).await,
            ["1 in_0 PAID", "2 in_1 PAID"],
            "{table}"
        );
        assert_eq!(lab.hosts().await.len(), 1, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hosts_row_that_is_locked_follows_too() {
    let lab = Lab::new().await;
    lab.take_one(&host("evt_1")).await;
    let before = lab.hosts().await;
    let holder = lab.database.connect().await.unwrap();
    let lock = r#"BEGIN; UPDATE "HostOnboarding" SET "hostId" = "hostId""#;
    holder.batch_execute(lock).await.unwrap();
    let mut changed = host("evt_2");
    changed.object["charges_enabled"] = false.into();
    changed.created += 10;
    assert_eq!(lab.take(&[changed, nth_paid(0)]).await, [APPLIED, APPLIED]);
    assert_eq!(lab.pending().await, ["host acct_h locked 1"]);
    assert_eq!(lab.rows(SHOWN).await, ["1 in_0 PAID"]);
    holder.batch_execute("COMMIT").await.unwrap();
    lab.project_pending().await;
    assert_ne!(lab.hosts().await, before);
    assert_eq!(lab.pending().await, Vec::<String>::new());
}

/// Thousands of rows that are locked or refused cost a stranger's row nothing but its turn.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_among_rows_that_are_refused_has_its_row() {
    let lab = Lab::new().await;
    sql(
        &lab,
        r#"ALTER TABLE "Invoice" ADD CONSTRAINT "stranger" CHECK ("bookingId" = 400)"#,
    )
    .await;
    let events: Vec<Event> = (0..500).map(nth_paid).collect();
    lab.take(&events).await;
    let pending = lab.pending().await.len();
    // It was written at once, or is one of those for which there was no time.
    if lab.rows(SHOWN).await.is_empty() {
        assert_eq!(pending, 500);
        lab.project_pending().await;
    }
    assert_eq!(lab.rows(SHOWN).await, ["400 in_399 PAID"]);
    assert_eq!(lab.pending().await.len(), 499);
    sql(&lab, r#"ALTER TABLE "Invoice" DROP CONSTRAINT "stranger""#).await;
    lab.project_pending().await;
    assert_eq!(lab.rows(SHOWN).await.len(), 500);
    assert_eq!(lab.pending().await, Vec::<String>::new());
}
