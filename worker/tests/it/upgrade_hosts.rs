//! The hosts of an existing database are carried over, as the worker would write them.

use crate::support::{
    APPLIED, Lab,
    migrating::{run, up},
};
use harness::{
    stripe::{Event, application},
    test_servers::TestDatabase,
};

/// The migrations of the release whose rows are carried over.
const BEFORE: usize = 6;

/// What an account was known by, its seconds of snapshot, cut and connection, and its
/// snapshots.
type KnownHost<'a> = (
    &'a str,
    [Option<i64>; 3],
    &'a [(&'a str, &'a str)],
    Option<&'a str>,
);

/// Each host of [`hosts_are_carried_over_as_the_worker_would_write_them`] with its row
/// after the upgrade, and whether the API is needed.
const HOSTS: [(KnownHost<'static>, &str); 8] = [
    // Only the connection is known.
    (
        ("acct_1", [None, None, Some(120)], &[], None),
        "UNKNOWN f {} t",
    ),
    // It left and came back.
    (
        (
            "acct_2",
            [Some(100), Some(110), Some(120)],
            &[("evt_1", "a")],
            None,
        ),
        "UNKNOWN f {a} t",
    ),
    (
        (
            "acct_3",
            [Some(100), Some(110), Some(100)],
            &[("evt_1", "a")],
            None,
        ),
        "DISCONNECTED f {a} f",
    ),
    (
        ("acct_4", [None, Some(110), None], &[], None),
        "DISCONNECTED f {} f",
    ),
    (
        (
            "acct_5",
            [Some(100), None, Some(100)],
            &[("evt_1", "a")],
            None,
        ),
        "RESTRICTED_SOON t {a} f",
    ),
    // Tied: the greatest event id shows, or what the API said.
    (
        (
            "acct_6",
            [Some(100), None, Some(100)],
            &[("evt_1", "a"), ("evt_2", "b")],
            None,
        ),
        "RESTRICTED_SOON t {b} t",
    ),
    (
        (
            "acct_7",
            [Some(100), None, Some(100)],
            &[("evt_1", "a"), ("evt_2", "b")],
            Some("c"),
        ),
        "RESTRICTED_SOON t {c} f",
    ),
    // The snapshot came after it was back.
    (
        (
            "acct_8",
            [Some(120), Some(110), Some(120)],
            &[("evt_1", "a")],
            None,
        ),
        "RESTRICTED_SOON t {a} f",
    ),
];

/// The rows of a host as the release before wrote them.
fn host_rows(host: KnownHost<'_>) -> String {
    let (id, [snapshot, cut, connected], candidates, api) = host;
    let snapshot_of = |due: &str| {
        serde_json::json!({
            "type": "express", "charges_enabled": true, "payouts_enabled": true,
            "details_submitted": true, "card_payments": "active",
            "future_currently_due": [due], "future_deadline": 1_800_000_000,
        })
    };
    let latest = snapshot.map(|created| {
        let candidates = candidates.iter().map(|(event, due)| {
            let candidate = serde_json::json!({ "after": snapshot_of(due), "before": null });
            ((*event).to_owned(), candidate)
        });
        let candidates: serde_json::Map<_, _> = candidates.collect();
        let api = api.map(snapshot_of);
        let latest = serde_json::json!({
            "created": created, "candidates": candidates, "api_snapshot": api,
        });
        format!("'{latest}'")
    });
    let time = |at: Option<i64>| at.map_or("NULL".into(), |at| format!("to_timestamp({at})"));
    let null = || "NULL".to_owned();
    let winner = candidates.last().map(|(event, _)| format!("'{event}'"));
    let is_tied = candidates.len() > 1 && api.is_none();
    let is_cut = cut > connected;
    let status = match (is_cut, snapshot) {
        (true, _) => "DISCONNECTED",
        (false, None) => "INCOMPLETE",
        (false, Some(_)) => "RESTRICTED_SOON",
    };
    let can_sell = !is_cut && snapshot.is_some();
    format!(
        r#"INSERT INTO stripe.account
            (id, latest_snapshots, snapshot_event_id, tied, deauthorized_at, connected_at, first_event_at)
            VALUES ('{id}', {}, {}, {is_tied}, {}, {}, to_timestamp(100));
        INSERT INTO "HostOnboarding" ("stripeAccountId", "status", "canSell", "chargesEnabled",
            "payoutsEnabled", "detailsSubmitted", "lastEventAt", "updatedAt")
            VALUES ('{id}', '{status}', {can_sell}, true, true, true, now(), now());"#,
        latest.unwrap_or_else(null),
        winner.unwrap_or_else(null),
        time(cut),
        time(connected),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_carried_over_as_the_worker_would_write_them() {
    let test = TestDatabase::empty("hosts").await.unwrap();
    run(&test, BEFORE).await;
    let client = test.connect().await.unwrap();
    for (host, _) in HOSTS {
        client.batch_execute(&host_rows(host)).await.unwrap();
    }
    let apps_own = r#"INSERT INTO "HostOnboarding" ("stripeAccountId", "status", "canSell",
            "chargesEnabled", "payoutsEnabled", "detailsSubmitted", "lastEventAt", "updatedAt")
        VALUES ('acct_0', 'INCOMPLETE', false, false, false, false, now(), now())"#;
    client.batch_execute(apps_own).await.unwrap();
    up(test.url()).await.unwrap();
    let lab = Lab::on(test).await;
    let hosts = r#"SELECT concat_ws(' ', "stripeAccountId", "status", left("canSell"::text, 1),
            coalesce("futureDue"::text, 'none'), left(api_needed::text, 1))
        FROM "HostOnboarding" LEFT JOIN stripe.account ON id = "stripeAccountId" ORDER BY 1"#;
    let expected: Vec<String> = std::iter::once("acct_0 INCOMPLETE f none".to_owned())
        .chain(HOSTS.map(|((id, ..), row)| format!("{id} {row}")))
        .collect();
    assert_eq!(lab.rows(hosts).await, expected);

    // The worker finds the same, once an event has it write the rows.
    for (index, ((id, ..), _)) in HOSTS.iter().enumerate() {
        let event = format!("evt_old{index}");
        let old = Event::new(&event, "account.application.deauthorized", application())
            .of_account(id)
            .at(1);
        assert_eq!(lab.take_one(&old).await, APPLIED);
    }
    assert_eq!(lab.rows(hosts).await, expected);
    let rewritten =
        r#"SELECT count(*)::text FROM "HostOnboarding" WHERE "lastEventAt" < '1971-01-01'"#;
    assert_eq!(lab.rows(rewritten).await, [HOSTS.len().to_string()]);
}

/// The value of the enum is committed before the rest, which may fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_failed_after_it_added_the_value_goes_on_from_there() {
    let test = TestDatabase::empty("hosts").await.unwrap();
    run(&test, BEFORE).await;
    let client = test.connect().await.unwrap();
    let (host, expected) = HOSTS[0];
    client.batch_execute(&host_rows(host)).await.unwrap();
    let refuse = r#"
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN RAISE EXCEPTION ''not now''; END';
        CREATE TRIGGER refuse BEFORE UPDATE ON "HostOnboarding"
            FOR EACH ROW EXECUTE FUNCTION refuse()"#;
    client.batch_execute(refuse).await.unwrap();
    let column = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attname = 'futureDue')";
    let has_column = async || -> bool { client.query_one(column, &[]).await.unwrap().get(0) };
    for _ in 0..2 {
        let refused = up(test.url()).await.unwrap_err();
        assert!(refused.contains("not now"), "{refused}");
        assert!(!has_column().await, "the rest was not undone");
    }
    client
        .batch_execute(r#"DROP TRIGGER refuse ON "HostOnboarding""#)
        .await
        .unwrap();
    up(test.url()).await.unwrap();
    assert!(has_column().await);
    let status = r#"SELECT "status"::text FROM "HostOnboarding""#;
    let row = client.query_one(status, &[]).await.unwrap();
    assert_eq!(expected.split(' ').next(), Some(row.get(0)));
}
