//! Rows that a worker writes, counted and held by a trigger of the test's.

use harness::wait::{self, Seen};

use crate::support::{BOUND, Deployment};

/// What commands write to, one statement of each transaction at least.
const TABLES: [&str; 3] = ["command", "account", "checkout_session"];

/// Counts the rows from `held.begin` on, and stops the one whose number is in `held.at`. The lock
/// is the test's, by a connection that does nothing else with advisory locks.
const TRIGGER: &str = "
    CREATE SCHEMA held;
    CREATE SEQUENCE held.writes;
    CREATE TABLE held.at (number bigint NOT NULL);
    INSERT INTO held.at VALUES (0);
    CREATE FUNCTION held.wait() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('held.writes') = (SELECT number FROM held.at) THEN
            PERFORM pg_advisory_xact_lock(4711, 1);
        END IF;
        RETURN NEW;
    END $$;";

/// Counts the rows that are written from now on.
pub(super) async fn watch(dialoom: &Deployment) {
    let triggers = TABLES.map(|table| {
        format!(
            "CREATE TRIGGER held BEFORE INSERT OR UPDATE ON stripe.{table} \
             FOR EACH ROW EXECUTE FUNCTION held.wait();"
        )
    });
    let all = format!("{TRIGGER}{}", triggers.concat());
    dialoom.client.batch_execute(&all).await.unwrap();
}

/// How many rows were written since [`watch`] was called.
pub(super) async fn count(dialoom: &Deployment) -> i64 {
    let count = "SELECT nextval('held.writes') - 1";
    dialoom.client.query_one(count, &[]).await.unwrap().get(0)
}

/// Stops the row after the next `number` ones.
pub(super) async fn hold(dialoom: &Deployment, number: i64) {
    let hold = format!(
        "SELECT pg_advisory_lock(4711, 1), setval('held.writes', 1); \
         UPDATE held.at SET number = 2 + {number}"
    );
    dialoom.client.batch_execute(&hold).await.unwrap();
}

/// Waits until a session of the worker's has come to the row. Gives the session's process.
pub(super) async fn reached(dialoom: &Deployment) -> i32 {
    let waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 4711 \
        AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    wait::until("a row that is held", BOUND, async || {
        match dialoom.client.query_opt(waiting, &[]).await.unwrap() {
            Some(row) => Seen::Reached(row.get(0)),
            None => Seen::NotYet("no row".to_owned()),
        }
    })
    .await
    .unwrap()
}

/// Lets the row be written or not, and waits until the session is gone whose worker is dead.
pub(super) async fn let_go(dialoom: &Deployment, session: i32, is_written: bool) {
    let end = match is_written {
        true => String::new(),
        false => format!("SELECT pg_terminate_backend({session}, 30000);"),
    };
    let let_go = format!("{end} UPDATE held.at SET number = 0; SELECT pg_advisory_unlock(4711, 1)");
    dialoom.client.batch_execute(&let_go).await.unwrap();
    let alive = format!("SELECT count(*)::text FROM pg_stat_activity WHERE pid = {session}");
    dialoom.until(&alive, "0").await;
}
