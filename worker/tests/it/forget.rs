//! What is kept of a host can be erased, and a late duplicate brings nothing back.

use harness::{
    stripe::{Account, Event},
    test_servers::TestBroker,
};
use serde_json::json;

use crate::support::{APPLIED, Lab, dead_code, operator::Operator, payments::paid};

/// Everything in the schema stripe but for the ledger's columns that stay, and the host's row,
/// as one text.
async fn kept(lab: &Lab) -> String {
    let mut kept = Vec::new();
    for table in [
        "event",
        "invoice",
        "checkout_session",
        "booking_claim",
        "account",
        "account_transition",
        "dead_letter",
        "pending_projection",
    ] {
        let rows = format!("SELECT to_jsonb(t)::text FROM stripe.{table} t");
        kept.extend(lab.rows(&rows).await);
    }
    kept.extend(lab.hosts().await);
    kept.join("\n")
}

/// The ids of the events whose bytes are archived, and whether the pages can be read.
async fn archived(lab: &Lab) -> Vec<String> {
    let conn = lab.executor.pool.get().await.unwrap();
    let mut ids = Vec::new();
    for id in store::erasure::pages(&conn, i64::MIN, 1000).await.unwrap() {
        let page = store::archive::load(&conn, id).await.unwrap().unwrap();
        ids.extend(page.events().unwrap().into_iter().map(|(id, body)| {
            assert!(String::from_utf8(body).unwrap().contains(id));
            id.to_owned()
        }));
    }
    ids.sort();
    ids
}

fn of_b(mut event: Event) -> Event {
    event.account = Some("acct_b".into());
    event
}

fn host(account: &str) -> Event {
    let object = Account {
        id: account.into(),
        ..Account::default()
    };
    Event::new(&format!("evt_{account}"), "account.updated", object.value()).of_account(account)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_erased_and_its_late_duplicates_bring_nothing_back() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("forget"));
    let operator = Operator::new(lab.worker_url(), &broker);
    let mut dead = of_b(paid("dead", "3"));
    dead.object["status"] = json!("melted");
    // Of one page: events of both hosts. Booking 1 is the first host's.
    let stranger = of_b(paid("claim", "1"));
    let stranger = stranger.clone().at(stranger.created + 1);
    let of_host = [of_b(paid("b", "2")), dead, stranger, host("acct_b")];
    let of_other = [paid("a", "1"), host("acct_a")];
    let events: Vec<Event> = of_host.iter().chain(&of_other).cloned().collect();
    let decided = lab.take(&events).await;
    assert_eq!(dead_code(&decided[1]), "unknown_status");
    assert_eq!(dead_code(&decided[2]), "booking_claimed_by_other_account");
    let pending = "INSERT INTO stripe.pending_projection (kind, id, object_id, reason, detail) \
        VALUES ('host', 'acct_b', 'acct_b', 'locked', ''), ('booking', '2', 'in_b', 'check', '')";
    lab.client.batch_execute(pending).await.unwrap();
    let shown = lab.invoices().await;
    let (before, bodies) = (kept(&lab).await, archived(&lab).await);
    assert_eq!(bodies.len(), 5, "{bodies:?}");

    for (line, code, word) in [
        ("forget", 2, "--account"),
        ("forget --account acct_b", 2, "--yes"),
        ("forget --account in_b --yes", 2, "no connected account"),
        ("forget --account acct_ --dry-run", 0, ""),
        ("forget --account acct_b --dry-run", 0, ""),
    ] {
        let done = operator.run(line).await;
        assert_eq!(done.code, code, "{line}: {}{}", done.out, done.err);
        assert!(done.err.contains(word), "{line}: {}", done.err);
        assert_eq!(kept(&lab).await, before, "{line}");
        assert_eq!(archived(&lab).await, bodies, "{line}");
    }

    let dry = operator
        .run("forget --account acct_b --dry-run --json")
        .await
        .well();
    let done = operator
        .run("forget --account acct_b --yes --json")
        .await
        .well();
    for count in ["bodies", "dead_letters", "rows", "host_rows", "ledger_rows"] {
        assert_eq!(dry.objects()[0][count], done.objects()[0][count], "{count}");
    }
    assert_eq!(done.objects()[0]["bodies"], 3);
    assert_eq!(done.objects()[0]["ledger_rows"], 4);

    let after = kept(&lab).await;
    for gone in [r#""acct_b""#, r#""in_b""#, "in_dead", "in_claim"] {
        assert!(!after.contains(gone), "{gone}: {after}");
    }
    assert_eq!(archived(&lab).await, ["evt_a", "evt_acct_a"]);
    assert_eq!(lab.invoices().await, shown, "the main app's own");
    let ledger = "SELECT concat_ws(' ', id, type, outcome) FROM stripe.event ORDER BY id";
    let expected = [
        "evt_a invoice.paid applied",
        "evt_acct_a account.updated applied",
        "evt_acct_b account.updated applied",
        "evt_b invoice.paid applied",
        "evt_claim invoice.paid stale",
        "evt_dead invoice.paid stale",
    ];
    assert_eq!(lab.rows(ledger).await, expected);

    // Late duplicates, those of dead events among them; and once more.
    lab.take(&of_host).await;
    assert_eq!(kept(&lab).await, after);
    assert_eq!(archived(&lab).await, ["evt_a", "evt_acct_a"]);
    let again = operator
        .run("forget --account acct_b --yes --json")
        .await
        .well();
    assert_eq!(
        (&again.objects()[0]["bodies"], &again.objects()[0]["rows"]),
        (&json!(0), &json!(0))
    );

    // The other host goes on.
    let mut next = paid("a", "1");
    next.id = "evt_next".into();
    next.object["total"] = json!(1);
    next.created += 10;
    assert_eq!(lab.take(&[next]).await, [APPLIED]);
}

/// An interrupted run leaves bodies whose ledger rows are gone, as pruning can.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_the_ledger_no_longer_knows_are_erased_too() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("forget-bytes"));
    lab.take(&[of_b(paid("b", "2")), paid("a", "1")]).await;
    let prune = "DELETE FROM stripe.event WHERE id = 'evt_b'";
    lab.client.batch_execute(prune).await.unwrap();
    let operator = Operator::new(lab.worker_url(), &broker);
    let done = operator
        .run("forget --account acct_b --yes --json")
        .await
        .well();
    assert_eq!(done.objects()[0]["bodies"], 1);
    assert_eq!(archived(&lab).await, ["evt_a"]);
}

/// A host of many rows. The ledger's rows 0001 to 2500 are of its invoices, and each of those
/// claims a booking.
const MANY: &str = "
    INSERT INTO stripe.event (id, type, account, object_id, created, outcome)
        SELECT 'evt_' || lpad(i::text, 4, '0'), 'invoice.paid', 'acct_b', 'in_' || i, now(),
            CASE WHEN i % 100 = 0 THEN 'dead' ELSE 'applied' END
        FROM generate_series(1, 2500) i;
    INSERT INTO stripe.invoice (id, account, status, event_created, event_id)
        SELECT object_id, account, 'paid', created, id FROM stripe.event
        WHERE account = 'acct_b' AND type = 'invoice.paid';
    INSERT INTO stripe.booking_claim
            (booking_id, account, object_kind, object_id, event_created, event_id)
        SELECT right(id, 4)::int + 1, account, 'invoice', object_id, created, id FROM stripe.event
        WHERE account = 'acct_b' AND type = 'invoice.paid'";

/// Somebody holds a row of the third thousand: what was erased before stays so, and the rest is
/// erased when the command is repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_many_rows_is_erased_in_parts_that_stay_erased() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("forget-parts"));
    lab.take(&[host("acct_b"), paid("a", "1")]).await;
    lab.client.batch_execute(MANY).await.unwrap();
    let operator = Operator::new(lab.worker_url(), &broker);
    let holder = lab.database.connect().await.unwrap();
    let hold = "BEGIN; SELECT FROM stripe.event WHERE id = 'evt_2400' FOR UPDATE";
    holder.batch_execute(hold).await.unwrap();

    let cut = operator.run("forget --account acct_b --yes").await;
    assert_ne!(cut.code, 0, "{}", cut.out);
    assert!(cut.err.contains("2000 events"), "{}", cut.err);
    let left = "SELECT min(id) || ' ' || count(*) FROM stripe.event WHERE account = 'acct_b'";
    assert_eq!(lab.rows(left).await, ["evt_2001 501"]);
    holder.batch_execute("ROLLBACK").await.unwrap();

    let done = operator.run("forget --account acct_b --yes --json").await;
    assert_eq!(done.well().objects()[0]["ledger_rows"], 501);
    let after = kept(&lab).await;
    for gone in [r#""acct_b""#, r#""in_1""#, r#""in_2500""#] {
        assert!(!after.contains(gone), "{gone}");
    }
    let rows = "SELECT concat_ws(' ', outcome, count(*), count(account)) FROM stripe.event \
        GROUP BY outcome ORDER BY 1";
    assert_eq!(lab.rows(rows).await, ["applied 2477 1", "stale 25 0"]);
    assert_eq!(lab.invoices().await.len(), 1);
}
