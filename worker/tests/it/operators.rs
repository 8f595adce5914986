//! The commands as a person uses them: on a terminal, through a pipe, and with a
//! wrong word.

use std::{process::Stdio, time::Duration};

use crate::support::{
    Lab,
    operator::Operator,
    payments::nth_paid,
    running::{Running, publish, until},
};
use harness::{
    stripe::{Account, Event},
    test_servers::TestBroker,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn dead_letters(lab: &Lab, broker: &TestBroker, count: usize) {
    let worker = Running::start(broker, lab.worker_url()).await;
    for index in 0..count {
        let mut wrong = nth_paid(index);
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
    let mut waiting = nth_paid(1);
    waiting.object["metadata"] = serde_json::json!({});
    let foreign = Event {
        livemode: true,
        ..nth_paid(2)
    };
    let host = Account {
        id: "acct_1Host".into(),
        host: Some("grace".into()),
        ..Account::default()
    };
    let host = Event::new("evt_3", "account.updated", host.value()).of_account("acct_1Host");
    for event in [&nth_paid(0), &nth_paid(0), &waiting, &foreign, &host] {
        publish(&broker, event).await;
    }
    until(&lab.client, "SELECT count(*)::text FROM stripe.event", "4").await;
    let operator = Operator::new(lab.worker_url(), &broker);
    for (event, words) in [
        (
            "evt_0",
            &["applied", "archived since", "webhook", "in_0"][..],
        ),
        ("evt_1", &["applied", "Waits for", "no_booking"]),
        ("evt_2", &["ignored", "other_mode", "not archived"]),
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

    for (ids, word) in [
        ("evt_0 evt_nobody", "has not seen evt_nobody"),
        ("evt_2", "evt_2: ignored, left out"),
    ] {
        let left = operator.run(&format!("events replay {ids} --yes")).await;
        assert_eq!(left.code, 1);
        assert!(left.err.contains(word), "{}", left.err);
    }

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
    let mut evil = nth_paid(1);
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
