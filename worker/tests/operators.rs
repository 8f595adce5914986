//! The commands as a person uses them: on a terminal, through a pipe, with a wrong
//! word, and over a table that has grown.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use harness::{
    stripe::{Account, Event, Invoice},
    test_servers::TestBroker,
};
use support::{
    Lab,
    operator::{Operator, done},
    running::{Running, publish, until},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Dead letters as if they had come over weeks: few with the rare reason.
const MANY: &str = "
    INSERT INTO stripe.dead_letter (id, event_id, type, account, routing_key, body, properties, reason,
            detail, origin, mark, first_at, last_at)
        SELECT 'evt_' || lpad(i::text, 6, '0'), 'evt_' || i, (ARRAY['invoice.paid', 'account.updated'])[1 + i % 2],
            'acct_' || i % 1000, 'invoice.paid', convert_to(repeat('body ' || i, 200), 'UTF8'),
            '{\"headers\": []}',
            CASE WHEN i % 20000 = 7 THEN 'nul_in_text' ELSE 'unknown_status' END, 'A sentence.', 'worker', i::text,
            now() - make_interval(secs => i), now()
        FROM generate_series(1, 100000) i;
    INSERT INTO stripe.event (id, type, created, outcome)
        SELECT id, type, now(), 'dead' FROM stripe.dead_letter;
    ANALYZE";

fn paid(index: usize) -> Event {
    let object = Invoice {
        id: format!("in_{index}"),
        booking: Some((index + 1).to_string()),
        ..Invoice::default()
    };
    Event::new(&format!("evt_{index}"), "invoice.paid", object.value()).of_account("acct_a")
}

async fn dead_letters(lab: &Lab, broker: &TestBroker, count: usize) {
    let worker = Running::start(broker, lab.worker_url()).await;
    for index in 0..count {
        let mut wrong = paid(index);
        wrong.object["status"] = "melted".into();
        publish(broker, &wrong).await;
    }
    let letters = "SELECT count(*)::text FROM stripe.dead_letter";
    until(&lab.client, letters, &count.to_string()).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_to_this_event() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("show"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    let mut waiting = paid(1);
    waiting.object["metadata"] = serde_json::json!({});
    let foreign = Event {
        livemode: true,
        ..paid(2)
    };
    let host = Account {
        id: "acct_1Host".into(),
        host: Some("grace".into()),
        ..Account::default()
    };
    let host = Event::new("evt_3", "account.updated", host.value()).of_account("acct_1Host");
    for event in [&paid(0), &paid(0), &waiting, &foreign, &host] {
        publish(&broker, event).await;
    }
    until(&lab.client, "SELECT count(*)::text FROM stripe.event", "4").await;
    let operator = Operator::new(lab.worker_url(), &broker);
    for (event, words) in [
        ("evt_0", &["applied", "kept since", "webhook", "in_0"][..]),
        ("evt_1", &["waiting", "no_booking"]),
        ("evt_2", &["ignored", "other_mode", "not kept"]),
    ] {
        let shown = operator.run(&format!("events show {event}")).await.well();
        for word in words {
            assert!(shown.out.contains(word), "{word}: {}", shown.out);
        }
    }
    let unknown = operator.run("events show evt_nobody").await;
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.err.contains("has not seen evt_nobody"),
        "{}",
        unknown.err
    );

    let listed = operator
        .run("events list --type invoice.* --since 1h --json")
        .await
        .well();
    assert_eq!(listed.objects().len(), 3);
    let first = operator.run("events list --limit 1").await.well();
    assert!(first.err.contains("--after "), "{}", first.err);
    let next = first.err.trim().rsplit(' ').next().unwrap();
    let rest = operator
        .run(&format!("events list --after {next} --json"))
        .await
        .well();
    assert_eq!(rest.objects().len(), 3);
    let invoices = operator.run("invoices waiting --json").await.well();
    assert_eq!(invoices.objects()[0]["invoice"], "in_1");
    assert_eq!(invoices.objects()[0]["waiting"], "no_booking");
    let hosts = operator.run("hosts list --status enabled").await.well();
    for word in ["acct_1Host", "grace", "ENABLED", "yes"] {
        assert!(hosts.out.contains(word), "{word}: {}", hosts.out);
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_without_a_yes_and_a_selection() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("ask"));
    dead_letters(&lab, &broker, 2).await;
    let operator = Operator::new(lab.worker_url(), &broker);
    let before = lab
        .rows("SELECT to_jsonb(d)::text FROM stripe.dead_letter d ORDER BY id")
        .await;
    for (line, code, word) in [
        ("dead-letters replay", 2, "--all"),
        ("dead-letters discard", 2, "--all"),
        ("dead-letters replay --all", 2, "--yes"),
        ("dead-letters discard --all", 2, "--yes"),
        (
            "dead-letters replay --all --state resolved --yes",
            2,
            "--state",
        ),
        (
            "dead-letters replay evt_0 evt_nobody --yes",
            1,
            "evt_nobody",
        ),
        ("dead-letters list --since yesterday", 2, "2026-11-22"),
        ("dead-letters replay --all --rate 0", 2, "rate"),
        ("events replay evt_0 --yes", 1, "none of these"),
        (
            "events replay --all --outcome dead --yes",
            2,
            "dead-letters replay",
        ),
        ("events list --outcome nonsense", 2, "applied"),
        ("prune", 2, "--yes"),
        (
            "dead-letters replay --all --dry-run",
            0,
            "2 dead letters would be replayed",
        ),
        (
            "dead-letters discard --all --dry-run --limit 1",
            0,
            "1 dead letters would be",
        ),
    ] {
        let done = operator.run(line).await;
        assert_eq!(done.code, code, "{line}: {}{}", done.out, done.err);
        assert!(done.err.contains(word), "{line}: {}", done.err);
    }
    let after = lab
        .rows("SELECT to_jsonb(d)::text FROM stripe.dead_letter d ORDER BY id")
        .await;
    assert_eq!(before, after);
    assert_eq!(broker.depth(&broker.worker_queue()).await.unwrap(), 0);
    let wrong = operator
        .with("KEEP_LEDGER_DAYS", "34")
        .run("prune --yes")
        .await;
    assert_eq!(wrong.code, 64, "{}", wrong.err);
}

/// Runs a line on a terminal of its own, types into it, and reads what it shows.
async fn on_a_terminal(operator: &Operator, line: &str, typed: &str) -> (i32, String) {
    let quoted = format!("{} {line}", env!("CARGO_BIN_EXE_worker"));
    let plain = operator.command("");
    let mut script = tokio::process::Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &quoted, "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "xterm")
        .envs(
            plain
                .as_std()
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = script.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut shown, mut buffer, mut asked) = (String::new(), [0; 4096], false);
    loop {
        let read = tokio::time::timeout(Duration::from_secs(60), stdout.read(&mut buffer));
        let count = read.await.expect("the terminal speaks").unwrap();
        if count == 0 {
            break;
        }
        shown.push_str(&String::from_utf8_lossy(&buffer[..count]));
        if !asked && (shown.contains("[y/N]") || shown.contains("sent")) {
            stdin.write_all(typed.as_bytes()).await.unwrap();
            asked = true;
        }
    }
    let code = child.wait().await.unwrap().code().unwrap_or(-1);
    (code, shown)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_asked_shows_progress_and_obeys_ctrl_c() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("terminal"));
    dead_letters(&lab, &broker, 30).await;
    let operator = Operator::new(lab.worker_url(), &broker);
    let (code, shown) = on_a_terminal(&operator, "dead-letters replay --all", "n\n").await;
    assert_eq!(code, 2, "{shown}");
    assert!(shown.contains("Replay 30 dead letters [y/N]"), "{shown}");
    assert!(shown.contains("nothing was changed"), "{shown}");
    let (code, shown) = on_a_terminal(&operator, "dead-letters replay --all", "\u{3}").await;
    assert_eq!(code, 130, "{shown}");

    // Ctrl-C while it sends.
    let slow = "dead-letters replay --all --yes --rate 5";
    let (code, shown) = on_a_terminal(&operator, slow, "\u{3}").await;
    assert_eq!(code, 130, "{shown}");
    assert!(shown.contains("/30 sent"), "a progress bar: {shown}");
    let (code, shown) =
        on_a_terminal(&operator, "dead-letters replay --all --rate 1000", "y\n").await;
    assert_eq!(code, 0, "{shown}");
    assert_eq!(broker.depth(&broker.worker_queue()).await.unwrap(), 30);

    let listed = on_a_terminal(&operator, "dead-letters list --state any", "").await;
    assert!(
        listed.1.contains("TYPE") && listed.1.contains("replayed"),
        "{}",
        listed.1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_from_outside_cannot_speak_to_the_terminal() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("escape"));
    let worker = Running::start(&broker, lab.worker_url()).await;
    let mut evil = paid(1);
    evil.account = Some("acct_\u{1b}[2J\u{202e}".into());
    evil.object["status"] = "melted".into();
    publish(&broker, &evil).await;
    until(&lab.client, "SELECT id FROM stripe.dead_letter", "evt_1").await;
    let operator = Operator::new(lab.worker_url(), &broker);
    for line in [
        "dead-letters list",
        "dead-letters show evt_1",
        "events list",
        "events show evt_1",
    ] {
        let shown = operator.run(line).await.well().out;
        assert!(
            shown.contains("acct_\\u{1b}[2J\\u{202e}"),
            "{line}: {shown}"
        );
        assert!(!shown.contains('\u{1b}'), "{line}: {shown}");
        assert!(!shown.contains("guest@"), "{line}: {shown}");
    }
    worker.stop().await;
}

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
    support::running::declare(&broker).await;
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
        assert!(
            seconds < empty + 1.0,
            "{line}: {seconds} s, {empty} s when empty"
        );
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
             INSERT INTO stripe.dead_letter (id, routing_key, body, properties, reason, detail, origin, mark,
                    first_at, last_at, state, changed_at)
                SELECT id, '', '', '{}', 'x', 'x', 'worker', 'x', now() - interval '90 days', now(), state, now() - age
                FROM (VALUES ('evt_dead', 'dead', interval '90 days'), ('evt_r', 'resolved', interval '41 days'),
                    ('evt_d', 'discarded', interval '41 days'), ('evt_new', 'resolved', interval '1 day')) AS t (id, state, age);
             INSERT INTO stripe.kept_page (id, event_ids, ends, bytes, stored_at) VALUES
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
        UNION ALL SELECT event_ids[1] || ' body' FROM stripe.kept_page ORDER BY 1";
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
    let bodies = "SELECT count(*)::text FROM stripe.kept_page";
    assert_eq!(lab.rows(bodies).await, ["0"]);
}
