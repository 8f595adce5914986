//! Connecting, disconnecting and coming back, by one application or several.

use crate::support::{APPLIED, Lab, dead_code};
use harness::stripe::{Account, Event};
use serde_json::json;

const ID: &str = "acct_a";

/// A snapshot of an account with nothing left to do.
fn updated(id: &str, at: i64) -> Event {
    let object = Account {
        id: ID.into(),
        ..Account::default()
    };
    Event::new(id, "account.updated", object.value())
        .of_account(ID)
        .at(at)
}

fn connection(id: &str, kind: &str, at: i64) -> Event {
    let kind = format!("account.application.{kind}");
    Event::new(id, &kind, harness::stripe::application())
        .of_account(ID)
        .at(at)
}

/// Status and whether the host can sell.
async fn host(lab: &Lab) -> String {
    lab.rows(r#"SELECT "status"::text || ' ' || "canSell"::text FROM "HostOnboarding""#)
        .await
        .join("; ")
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_and_connecting_again_are_told_apart_by_time() {
    let lab = Lab::new().await;
    lab.take_one(&updated("evt_1", 100)).await;
    lab.take_one(&connection("evt_2", "deauthorized", 100))
        .await;
    assert_eq!(host(&lab).await, "DISCONNECTED false");
    lab.take_one(&connection("evt_3", "authorized", 101)).await;
    // The snapshot from before says nothing of now.
    assert_eq!(host(&lab).await, "UNKNOWN false");
    lab.take_one(&connection("evt_4", "deauthorized", 99)).await;
    assert_eq!(host(&lab).await, "UNKNOWN false");
    assert_eq!(lab.take_one(&updated("evt_5", 102)).await, APPLIED);
    assert_eq!(host(&lab).await, "ENABLED true");
    let history = lab
        .rows("SELECT event_id || ' ' || coalesce(status, change) FROM stripe.account_transition ORDER BY event_created, event_id")
        .await;
    assert_eq!(
        history,
        [
            "evt_4 DISCONNECTED",
            "evt_1 ENABLED",
            "evt_2 DISCONNECTED",
            "evt_3 authorized",
            "evt_5 ENABLED"
        ]
    );
}

/// A Standard account has been selling elsewhere for years, and nothing about it has
/// changed since it connected.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_whom_only_the_connection_is_known_is_unknown() {
    let lab = Lab::new().await;
    lab.take_one(&connection("evt_1", "authorized", 100)).await;
    assert_eq!(host(&lab).await, "UNKNOWN false");
    let needed = "SELECT api_needed::text FROM stripe.account";
    assert_eq!(lab.rows(needed).await, ["true"]);
    // Nothing tells which of one second is later: it is of this connection.
    let mut standard = updated("evt_2", 100);
    standard.object["type"] = "standard".into();
    standard.object["capabilities"] = json!({});
    lab.take_one(&standard).await;
    assert_eq!(host(&lab).await, "ENABLED true");
    assert_eq!(lab.rows(needed).await, ["false"]);
    lab.take_one(&connection("evt_3", "deauthorized", 101))
        .await;
    assert_eq!(host(&lab).await, "DISCONNECTED false");
    assert_eq!(lab.rows(needed).await, ["false"]);
}

/// What an application says of its own connection.
fn of_application(event: Event, id: &str) -> Event {
    let object = json!({ "id": id, "object": "application", "name": "Another" });
    Event { object, ..event }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_connected_until_its_last_application_is_cut() {
    let lab = Lab::new().await;
    let other = |id, kind, at| of_application(connection(id, kind, at), "ca_Other");
    lab.take(&[
        connection("evt_1", "authorized", 100),
        other("evt_2", "authorized", 101),
        updated("evt_3", 102),
    ])
    .await;
    assert_eq!(host(&lab).await, "ENABLED true");
    lab.take_one(&other("evt_4", "deauthorized", 103)).await;
    assert_eq!(host(&lab).await, "ENABLED true");
    lab.take_one(&connection("evt_5", "deauthorized", 104))
        .await;
    assert_eq!(host(&lab).await, "DISCONNECTED false");
    // It comes back by either of them.
    lab.take_one(&other("evt_6", "authorized", 105)).await;
    assert_eq!(host(&lab).await, "UNKNOWN false");
    // A cut that names no application is of all.
    let mut unnamed = connection("evt_7", "deauthorized", 106);
    unnamed.object = json!({});
    assert_eq!(lab.take_one(&unnamed).await, APPLIED);
    assert_eq!(host(&lab).await, "DISCONNECTED false");
    let mut nul = connection("evt_8", "deauthorized", 107);
    nul.object["id"] = "ca_\0".into();
    assert_eq!(dead_code(&lab.take_one(&nul).await), "nul_in_text");
}

/// The account that an organization's endpoint names in the context is the event's.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_of_the_account_that_its_context_names() {
    let lab = Lab::new().await;
    let mut body = connection("evt_1", "authorized", 100).value();
    body.as_object_mut().unwrap().remove("account");
    body["context"] = format!("org_1/{ID}").into();
    assert_eq!(
        lab.take_bytes(&[body.to_string().into_bytes()]).await,
        [APPLIED]
    );
    assert_eq!(host(&lab).await, "UNKNOWN false");
    let account = "SELECT account FROM stripe.event";
    assert_eq!(lab.rows(account).await, [ID]);
    // The platform is no connected account.
    body["id"] = "evt_2".into();
    body["context"] = "org_1".into();
    let decisions = lab.take_bytes(&[body.to_string().into_bytes()]).await;
    assert_eq!(dead_code(&decisions[0]), "missing_account");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_only_ever_disconnected_is_shown() {
    let lab = Lab::new().await;
    assert_eq!(
        lab.take_one(&connection("evt_1", "deauthorized", 100))
            .await,
        APPLIED
    );
    assert_eq!(host(&lab).await, "DISCONNECTED false");
    let mut nobody = connection("evt_2", "deauthorized", 100);
    nobody.account = None;
    assert_eq!(dead_code(&lab.take_one(&nobody).await), "missing_account");
}
