//! The commands over tables that have grown. They need little memory, and print how long they
//! take, which is no matter of minutes; pruning takes what is old and settled alone.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use crate::support::{
    Lab,
    operator::{Operator, done},
    running::declare,
};
use harness::test_servers::TestBroker;
use tokio::io::AsyncReadExt;

/// Dead letters as if they had come over weeks: few with the rare reason.
const MANY: &str = "
    INSERT INTO stripe.dead_letter (id, event_id, type, account, routing_key, body, properties, reason,
            detail, origin, death_key, first_at, last_at)
        SELECT 'evt_' || lpad(i::text, 6, '0'), 'evt_' || i, (ARRAY['invoice.paid', 'account.updated'])[1 + i % 2],
            'acct_' || i % 1000, 'invoice.paid', convert_to(repeat('body ' || i, 200), 'UTF8'),
            '{\"headers\": []}',
            CASE WHEN i % 20000 = 7 THEN 'nul_in_text' ELSE 'unknown_status' END, 'A sentence.', 'worker', i::text,
            now() - make_interval(secs => i), now()
        FROM generate_series(1, 100000) i;
    INSERT INTO stripe.event (id, type, created, outcome)
        SELECT id, type, now(), 'dead' FROM stripe.dead_letter;
    ANALYZE";

/// Seconds that a command took, and the most memory that it held, in MB.
async fn measured(operator: &Operator, line: &str) -> (f64, u64) {
    let started = Instant::now();
    let mut child = operator
        .command(line)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id().unwrap());
    let mut peak = 0;
    loop {
        if let Ok(text) = std::fs::read_to_string(&status) {
            let kilobytes = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let digits = kilobytes.and_then(|line| line.trim().strip_suffix(" kB"));
            peak = peak.max(digits.and_then(|kb| kb.trim().parse().ok()).unwrap_or(0));
        }
        if let Ok(ended) = tokio::time::timeout(Duration::from_millis(5), child.wait()).await {
            assert!(ended.unwrap().success(), "{line}");
            return (started.elapsed().as_secs_f64(), peak / 1024);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_dead_letters() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("many"));
    let operator = Operator::new(lab.worker_url(), &broker);
    declare(&broker).await;
    let (empty, _) = measured(&operator, "dead-letters list").await;
    lab.client.batch_execute(MANY).await.unwrap();
    for line in [
        "dead-letters list",
        "dead-letters list --after evt_090000",
        "dead-letters list --reason nul_in_text",
        "dead-letters list --account acct_7 --after evt_050007",
        "dead-letters list --since 1h --until 30m",
        "events list --outcome dead",
    ] {
        let (seconds, megabytes) = measured(&operator, line).await;
        println!("{line}: {seconds:.3} s, {megabytes} MB (empty table: {empty:.3} s)");
        // A query that looks at each row for each row takes minutes.
        assert!(seconds < 10.0, "{line}: {seconds} s, {empty} s when empty");
        assert!(megabytes < 64, "{line}: {megabytes} MB");
    }
    let (seconds, megabytes) = measured(&operator, "dead-letters list --limit 100000 --json").await;
    println!("all listed: {seconds:.3} s, {megabytes} MB");
    assert!(megabytes < 64, "{megabytes} MB");
    let replay = "dead-letters replay --all --yes --limit 5000 --rate 100000";
    let (seconds, megabytes) = measured(&operator, replay).await;
    println!("5000 replayed: {seconds:.3} s, {megabytes} MB");
    assert!(megabytes < 96, "{megabytes} MB");
    assert_eq!(broker.depth(&broker.worker_queue()).await.unwrap(), 5000);

    // Every page goes by an index, whatever is asked for.
    let plans = [
        "state = 'dead'",
        "state = 'dead' AND reason = 'nul_in_text'",
        "state = 'dead' AND account = 'acct_7'",
        "state = 'dead' AND first_at < now() - interval '20 hours'",
        "state = 'dead' AND first_at <= now() - interval '20 hours' AND (first_at < now() - interval '20 hours' OR id < 'evt_5')",
    ];
    for condition in plans {
        let explain = format!(
            "EXPLAIN (FORMAT TEXT) SELECT id FROM stripe.dead_letter WHERE {condition} \
             ORDER BY first_at DESC, id DESC LIMIT 50"
        );
        let plan = lab.rows(&explain).await.join("\n");
        assert!(
            plan.contains("Index") && !plan.contains("Seq Scan"),
            "{condition}:\n{plan}"
        );
    }

    // The reader leaves early.
    let mut listing = operator.command("dead-letters list --limit 100000 --state any");
    let mut listing = listing
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut head = [0; 100];
    let mut out = listing.stdout.take().unwrap();
    out.read_exact(&mut head).await.unwrap();
    drop(out);
    let listing = done(&listing.wait_with_output().await.unwrap());
    assert_eq!(
        (listing.code, listing.err.as_str()),
        (0, ""),
        "a closed pipe is no error"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_leaves_what_is_young_or_open() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("prune"));
    lab.client
        .batch_execute(
            "INSERT INTO stripe.event (id, type, created, outcome, first_seen_at, processed_at)
                SELECT 'evt_old' || i, 'invoice.paid', now(), 'applied', now() - interval '41 days', now() - interval '41 days'
                FROM generate_series(1, 2500) i;
             INSERT INTO stripe.event (id, type, created, outcome, first_seen_at, processed_at) VALUES
                ('evt_young', 'invoice.paid', now(), 'applied', now() - interval '39 days', now()),
                ('evt_dead', 'invoice.paid', now(), 'dead', now() - interval '90 days', now() - interval '90 days');
             INSERT INTO stripe.dead_letter (id, routing_key, body, properties, reason, detail, origin, death_key,
                    first_at, last_at, state, changed_at)
                SELECT id, '', '', '{}', 'x', 'x', 'worker', 'x', now() - interval '90 days', now(), state, now() - age
                FROM (VALUES ('evt_dead', 'dead', interval '90 days'), ('evt_r', 'resolved', interval '41 days'),
                    ('evt_d', 'discarded', interval '41 days'), ('evt_new', 'resolved', interval '1 day')) AS t (id, state, age);
             INSERT INTO stripe.event_archive (id, event_ids, ends, bytes, stored_at) VALUES
                (1, '{evt_a}', '{}', '', now() - interval '31 days'),
                (2, '{evt_b}', '{}', '', now() - interval '29 days')",
        )
        .await
        .unwrap();
    let operator = Operator::new(lab.worker_url(), &broker);
    let dry = operator.run("prune --dry-run").await.well();
    assert!(dry.out.contains("2500 ledger rows"), "{}", dry.out);
    operator.run("prune --yes").await.well();
    let left = "SELECT id FROM stripe.event UNION ALL SELECT id || ' letter' FROM stripe.dead_letter \
        UNION ALL SELECT event_ids[1] || ' body' FROM stripe.event_archive ORDER BY 1";
    assert_eq!(
        lab.rows(left).await,
        [
            "evt_b body",
            "evt_dead",
            "evt_dead letter",
            "evt_new letter",
            "evt_young"
        ]
    );
    let none = operator.with("KEEP_EVENTS_DAYS", "0");
    none.run("prune --yes").await.well();
    let bodies = "SELECT count(*)::text FROM stripe.event_archive";
    assert_eq!(lab.rows(bodies).await, ["0"]);
}
