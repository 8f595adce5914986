//! What the log says when rows become pending and when an event cannot be committed: which
//! object or event and what is in the way, and nothing of a row.

use std::{
    io,
    sync::{Arc, Mutex},
};

use harness::wait::{self, Seen};
use shared::{config::Env, telemetry::Telemetry};
use tokio_util::sync::CancellationToken;
use tracing::subscriber::DefaultGuard;

use crate::support::{Lab, delivery, payments::nth_paid, running::BOUND};

/// The lines at the level that a deployment has.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Takes this thread's lines from now on. A test with one thread has all of its own.
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let telemetry = Telemetry::from_env(&Env::default()).unwrap();
        let subscriber = telemetry.subscriber(move || writer.clone());
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines with this text.
    fn with(&self, text: &str) -> Vec<String> {
        let all = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = all.lines().filter(|line| line.contains(text));
        lines.map(str::to_owned).collect()
    }

    /// The one line with this text.
    fn one(&self, text: &str) -> String {
        let lines = self.with(text);
        assert_eq!(lines.len(), 1, "{text}: {lines:?}");
        lines[0].clone()
    }
}

/// A trigger that quotes the row that it refuses.
const QUOTING: &str = r#"
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'quoted %', NEW; END $$;"#;

const PENDING: &str = "rows of the main app cannot be written now";

#[tokio::test]
async fn a_row_that_becomes_pending_is_named_with_its_constraint_and_once() {
    let lab = Lab::new().await;
    let (log, _guard) = Log::start();
    let refuse = r#"ALTER TABLE "Invoice" ADD CONSTRAINT "not_two" CHECK ("bookingId" <> 2)"#;
    lab.client.batch_execute(refuse).await.unwrap();
    lab.take(&[nth_paid(0), nth_paid(1)]).await;
    let line = log.one(PENDING);
    for part in [
        " WARN ",
        "rows=1",
        r#"kind="booking""#,
        r#"id="2""#,
        r#"object_id="in_1""#,
        r#"reason="check""#,
        r#"constraint="not_two""#,
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // Its job finds the same a second later.
    lab.project_pending().await;
    assert_eq!(lab.pending().await, ["booking 2 check 2"]);
    log.one(PENDING);
    // Another obstacle is told at once.
    let lock = r#"BEGIN; LOCK TABLE "HostOnboarding" IN ACCESS EXCLUSIVE MODE"#;
    let holder = lab.database.connect().await.unwrap();
    holder.batch_execute(lock).await.unwrap();
    let account = harness::stripe::Account::default().value();
    lab.take_one(&harness::stripe::Event::new(
        "evt_h",
        "account.updated",
        account,
    ))
    .await;
    assert_eq!(log.with(PENDING).len(), 2);
    log.one(r#"reason="locked""#);
}

#[tokio::test]
async fn what_a_trigger_of_the_main_app_says_of_a_row_is_not_logged() {
    let lab = Lab::new().await;
    let (log, _guard) = Log::start();
    let trigger = r#"CREATE TRIGGER refuse BEFORE INSERT ON "Invoice"
        FOR EACH ROW EXECUTE FUNCTION refuse()"#;
    lab.client.batch_execute(QUOTING).await.unwrap();
    lab.client.batch_execute(trigger).await.unwrap();
    lab.take_one(&nth_paid(0)).await;
    let said = "SELECT detail FROM stripe.pending_projection";
    assert!(lab.rows(said).await[0].contains("quoted"));
    assert!(log.one(PENDING).contains(r#"reason="refused""#));
    assert_eq!(log.with("quoted"), Vec::<String>::new());
}

/// Takes one payment while something is in its way, until the log speaks of it; then removes
/// the obstacle. Gives back the line.
async fn in_the_way(lab: &Lab, obstacle: &str, removal: &str) -> String {
    let (log, _guard) = Log::start();
    let holder = lab.database.connect().await.unwrap();
    holder.batch_execute(obstacle).await.unwrap();
    let (deliveries, stop) = ([delivery(&nth_paid(0).bytes())], CancellationToken::new());
    let until_said = async {
        let said = "cannot be committed now";
        wait::until(said, BOUND, async || match log.with(said).first() {
            Some(line) => Seen::Reached(line.clone()),
            None => Seen::NotYet("no line".into()),
        })
        .await
        .unwrap();
        holder.batch_execute(removal).await.unwrap();
    };
    let (done, ()) = tokio::join!(lab.executor.execute(&deliveries, &stop), until_said);
    done.unwrap();
    assert_eq!(log.with("quoted"), Vec::<String>::new());
    log.with("cannot be committed now")[0].clone()
}

#[tokio::test]
async fn an_event_that_cannot_be_committed_is_named_with_what_is_in_its_way() {
    let lab = Lab::new().await;
    let lock = "BEGIN; LOCK TABLE stripe.event IN ACCESS EXCLUSIVE MODE";
    let line = in_the_way(&lab, lock, "COMMIT").await;
    assert!(line.contains(r#"event="evt_0""#), "{line}");
    assert!(line.contains("lock timeout"), "{line}");
}

#[tokio::test]
async fn an_error_that_quotes_a_row_is_not_logged() {
    let lab = Lab::new().await;
    lab.client.batch_execute(QUOTING).await.unwrap();
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON stripe.event \
        FOR EACH ROW EXECUTE FUNCTION refuse()";
    let line = in_the_way(&lab, trigger, "DROP TRIGGER refuse ON stripe.event").await;
    assert!(line.contains(r#"event="evt_0""#), "{line}");
    assert!(line.contains("text may quote a row"), "{line}");
}

#[tokio::test]
async fn a_constraint_that_makes_an_event_dead_is_named() {
    let lab = Lab::new().await;
    let (log, _guard) = Log::start();
    let refuse = "ALTER TABLE stripe.invoice ADD CONSTRAINT none CHECK (id <> 'in_0')";
    lab.client.batch_execute(refuse).await.unwrap();
    lab.take_one(&nth_paid(0)).await;
    let line = log.one("the database refuses an event");
    assert!(line.contains(r#"event="evt_0""#), "{line}");
    assert!(line.contains("constraint none of table invoice"), "{line}");
}
