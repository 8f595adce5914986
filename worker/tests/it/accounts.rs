//! The rules of host onboarding, one by one.

use crate::support::{APPLIED, Lab, STALE, dead_code};
use domain::outcome::Decision;
use harness::stripe::{Account, ApiVersion, Event, Invoice};
use serde_json::{Value, json};

const ID: &str = "acct_a";

fn account(details: bool, charges: bool, payouts: bool) -> Value {
    Account {
        id: ID.into(),
        details_submitted: details,
        charges_enabled: charges,
        payouts_enabled: payouts,
        ..Account::default()
    }
    .value()
}

fn updated(id: &str, object: Value) -> Event {
    Event::new(id, "account.updated", object).of_account(ID)
}

/// Status and whether the host can sell.
async fn host(lab: &Lab) -> String {
    lab.rows(r#"SELECT "status"::text || ' ' || "canSell"::text FROM "HostOnboarding""#)
        .await
        .join("; ")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_condition_that_holds_gives_the_status() {
    let lab = Lab::new().await;
    let due = json!(["external_account"]);
    let later =
        json!({ "currently_due": ["individual.id_number"], "current_deadline": 1_800_000_000 });
    type Case<'a> = (&'a str, (bool, bool, bool), Value, Value);
    let cases: Vec<Case<'_>> = vec![
        (
            "REJECTED true",
            (true, true, true),
            json!({ "disabled_reason": "rejected.fraud" }),
            Value::Null,
        ),
        (
            "IN_REVIEW true",
            (true, true, true),
            json!({ "disabled_reason": "listed" }),
            Value::Null,
        ),
        (
            "IN_REVIEW false",
            (false, false, false),
            json!({ "disabled_reason": "under_review" }),
            Value::Null,
        ),
        (
            "PAUSED true",
            (true, true, true),
            json!({ "disabled_reason": "platform_paused" }),
            Value::Null,
        ),
        (
            "INCOMPLETE true",
            (false, true, true),
            json!({}),
            Value::Null,
        ),
        (
            "INCOMPLETE false",
            (false, false, false),
            json!({ "past_due": due, "disabled_reason": "requirements.past_due" }),
            Value::Null,
        ),
        (
            "RESTRICTED true",
            (true, true, true),
            json!({ "past_due": due, "currently_due": due }),
            Value::Null,
        ),
        (
            "RESTRICTED_SOON true",
            (true, true, true),
            json!({ "currently_due": due }),
            Value::Null,
        ),
        (
            "RESTRICTED_SOON true",
            (true, true, true),
            json!({}),
            later.clone(),
        ),
        (
            "ENABLED true",
            (true, true, true),
            json!({}),
            json!({ "currently_due": ["x"], "current_deadline": null }),
        ),
        (
            "ENABLED true",
            (true, true, true),
            json!({ "eventually_due": due }),
            Value::Null,
        ),
        (
            "IN_REVIEW false",
            (true, false, false),
            json!({ "disabled_reason": "requirements.pending_verification" }),
            Value::Null,
        ),
        (
            "IN_REVIEW false",
            (true, false, true),
            json!({ "pending_verification": ["individual.verification.document"] }),
            Value::Null,
        ),
        (
            "RESTRICTED false",
            (true, false, true),
            json!({ "pending_verification": ["x"], "currently_due": due }),
            Value::Null,
        ),
        (
            "RESTRICTED true",
            (true, true, false),
            json!({ "disabled_reason": "other" }),
            Value::Null,
        ),
    ];
    for (expected, (details, charges, payouts), requirements, future) in cases {
        lab.wipe().await;
        let mut object = account(details, charges, payouts);
        for (field, value) in requirements.as_object().unwrap() {
            object["requirements"][field] = value.clone();
        }
        object["future_requirements"] = future.clone();
        assert_eq!(lab.take_one(&updated("evt_1", object)).await, APPLIED);
        assert_eq!(host(&lab).await, expected, "{requirements} {future}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_columns_are_filled_from_the_account() {
    let lab = Lab::new().await;
    let mut object = account(true, true, true);
    object["requirements"] = json!({
        "currently_due": ["a", "b \"quoted\" \\"], "past_due": [], "eventually_due": ["c"],
        "pending_verification": ["d"], "disabled_reason": null, "current_deadline": 1_800_000_000,
    });
    object["future_requirements"] = json!({
        "currently_due": ["e", "f {}"], "current_deadline": 1_900_000_000,
    });
    object["created"] = json!(1_700_000_000);
    lab.take_one(&updated("evt_1", object).at(1_760_000_000))
        .await;
    let row: Value = serde_json::from_str(&lab.hosts().await[0]).unwrap();
    assert_eq!(
        row,
        json!({
            "stripeAccountId": ID, "hostId": "host-1", "status": "RESTRICTED_SOON", "canSell": true,
            "chargesEnabled": true, "payoutsEnabled": true, "detailsSubmitted": true,
            "currentlyDue": ["a", "b \"quoted\" \\"], "pastDue": [], "eventuallyDue": ["c"],
            "pendingVerification": ["d"], "disabledReason": null,
            "currentDeadline": "2027-01-15T08:00:00", "type": "express", "country": "ES",
            "defaultCurrency": "eur", "lastEventAt": "2025-10-09T08:53:20",
            "createdAt": "2023-11-14T22:13:20", "futureDue": ["e", "f {}"],
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn selling_needs_the_card_capability_but_for_standard_accounts() {
    let lab = Lab::new().await;
    for (kind, capabilities, charges, expected) in [
        ("standard", json!({}), true, "true"),
        (
            "express",
            json!({ "card_payments": "active" }),
            true,
            "true",
        ),
        (
            "express",
            json!({ "card_payments": "pending" }),
            true,
            "false",
        ),
        ("custom", json!({}), true, "false"),
        (
            "standard",
            json!({ "card_payments": "active" }),
            false,
            "false",
        ),
        // Old accounts have another capability in its place.
        (
            "express",
            json!({ "legacy_payments": "active" }),
            true,
            "true",
        ),
        (
            "custom",
            json!({ "legacy_payments": "inactive" }),
            true,
            "false",
        ),
        (
            "custom",
            json!({ "legacy_payments": "active" }),
            false,
            "false",
        ),
    ] {
        lab.wipe().await;
        let mut object = account(true, charges, true);
        object["type"] = kind.into();
        object["capabilities"] = capabilities.clone();
        lab.take_one(&updated("evt_1", object)).await;
        assert!(
            host(&lab).await.ends_with(expected),
            "{kind} {capabilities}"
        );
    }
}

/// What is due later and makes the status is in a column; what Stripe's enums say beyond
/// the rules does no harm.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_sees_what_will_be_due_and_new_values_do_no_harm() {
    let lab = Lab::new().await;
    let mut object = account(true, true, true);
    object["type"] = "of_tomorrow".into();
    object["capabilities"]["transfers"] = "suspended".into();
    object["requirements"]["disabled_reason"] = "new.reason".into();
    object["future_requirements"] = json!({
        "currently_due": ["company.verification.document"], "current_deadline": 1_800_000_000,
        "disabled_reason": "new.reason",
    });
    assert_eq!(lab.take_one(&updated("evt_1", object)).await, APPLIED);
    assert_eq!(host(&lab).await, "RESTRICTED_SOON true");
    let due =
        r#"SELECT concat_ws(' ', "currentlyDue"::text, "futureDue"::text) FROM "HostOnboarding""#;
    assert_eq!(lab.rows(due).await, ["{} {company.verification.document}"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_neither_writes_a_host_nor_makes_one() {
    let lab = Lab::new().await;
    let enabled = updated("evt_1", account(true, true, true)).at(100);
    assert_eq!(lab.take_one(&enabled).await, APPLIED);
    let (shown, rows) = (lab.hosts().await, host(&lab).await);
    assert_eq!(rows, "ENABLED true");
    // As the runbook says, before its events are replayed.
    let delete = "DELETE FROM stripe.account";
    lab.client.batch_execute(delete).await.unwrap();
    let unrelated = Event::new("evt_2", "invoice.paid", Invoice::default().value()).of_account(ID);
    for batch in [
        vec![enabled.clone()],
        vec![enabled.clone(), unrelated.clone(), enabled.clone()],
    ] {
        assert_eq!(lab.take(&batch).await[0], Decision::Duplicate);
        assert_eq!(lab.hosts().await, shown);
        let accounts = "SELECT id FROM stripe.account";
        assert_eq!(lab.rows(accounts).await, Vec::<String>::new());
    }

    // One id under two types: the first one that came is the event.
    let mut other = updated("evt_2", account(true, true, true));
    other.account = Some("acct_b".into());
    other.object["id"] = "acct_b".into();
    assert_eq!(lab.take_one(&other).await, Decision::Duplicate);
    let mut invoice = unrelated;
    (invoice.id, other.id) = ("evt_3".into(), "evt_3".into());
    let decisions = lab.take(&[invoice, other]).await;
    assert_eq!(decisions[1], Decision::Duplicate);
    assert_eq!(lab.hosts().await, shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_snapshot_is_stale_and_a_tie_is_told_by_what_was_before() {
    let lab = Lab::new().await;
    let (before, after) = (account(true, true, false), account(true, true, true));
    lab.take_one(&updated("evt_9", before.clone()).at(100))
        .await;
    let mut later = updated("evt_1", after).at(100);
    later.previous_attributes = Some(json!({ "payouts_enabled": false }));
    assert_eq!(lab.take_one(&later).await, APPLIED);
    assert_eq!(host(&lab).await, "ENABLED true");
    assert_eq!(
        lab.rows("SELECT tied::text FROM stripe.account").await,
        ["false"]
    );
    assert_eq!(
        lab.take_one(&updated("evt_2", before).at(99)).await,
        APPLIED
    );
    assert_eq!(
        lab.take_one(&updated("evt_3", account(false, false, false)).at(99))
            .await,
        STALE
    );
    assert_eq!(host(&lab).await, "ENABLED true");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_was_before_may_be_unreadable() {
    for before in [
        json!({ "payouts_enabled": "no" }),
        json!({ "requirements": [7] }),
        json!({ "metadata": { "hostId": "a\0" } }),
    ] {
        let lab = Lab::new().await;
        let mut later = updated("evt_1", account(true, true, true)).at(100);
        later.previous_attributes = Some(before.clone());
        assert_eq!(lab.take_one(&later).await, APPLIED, "{before}");
        assert_eq!(host(&lab).await, "ENABLED true", "{before}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tie_that_nothing_decides_is_marked() {
    let lab = Lab::new().await;
    lab.take_one(&updated("evt_1", account(true, true, true)).at(100))
        .await;
    lab.take_one(&updated("evt_2", account(true, true, false)).at(100))
        .await;
    assert_eq!(host(&lab).await, "RESTRICTED true");
    assert_eq!(
        lab.rows("SELECT tied::text FROM stripe.account").await,
        ["true"]
    );
    lab.take_one(&updated("evt_0", account(true, true, true)).at(101))
        .await;
    assert_eq!(host(&lab).await, "ENABLED true");
    assert_eq!(
        lab.rows("SELECT tied::text FROM stripe.account").await,
        ["false"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_api_version_is_read_and_another_accounts_object_is_not() {
    let lab = Lab::new().await;
    for version in ApiVersion::ALL {
        lab.wipe().await;
        let object = Account {
            id: ID.into(),
            version,
            ..Account::default()
        };
        let mut event = updated("evt_1", object.value());
        event.version = version;
        assert_eq!(lab.take_one(&event).await, APPLIED, "{version:?}");
        assert_eq!(host(&lab).await, "ENABLED true", "{version:?}");
    }
    let sparse = json!({
        "id": "evt_2", "object": "event", "type": "account.updated",
        "data": { "object": { "id": "acct_sparse" } },
    });
    assert_eq!(
        lab.take_bytes(&[sparse.to_string().into_bytes()]).await,
        [APPLIED]
    );
    let mut foreign = updated("evt_3", account(true, true, true));
    foreign.account = Some("acct_other".into());
    assert_eq!(dead_code(&lab.take_one(&foreign).await), "account_mismatch");
    let nul = {
        let mut object = account(true, true, true);
        object["metadata"]["hostId"] = json!("a\0");
        updated("evt_4", object)
    };
    assert_eq!(dead_code(&lab.take_one(&nul).await), "nul_in_text");
}

/// A rule may have been mended, or the main app's row be gone.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_judged_again_writes_its_host_again() {
    let lab = Lab::new().await;
    let enabled = updated("evt_1", account(true, true, true)).at(100);
    assert_eq!(lab.take_one(&enabled).await, APPLIED);
    let right = host(&lab).await;
    for damage in [
        r#"UPDATE "HostOnboarding" SET "status" = 'REJECTED', "canSell" = false;
           UPDATE stripe.account_transition SET status = 'REJECTED'"#,
        r#"DELETE FROM "HostOnboarding""#,
    ] {
        let replayed = "; UPDATE stripe.event SET outcome = 'replayed'";
        let damage = format!("{damage}{replayed}");
        lab.client.batch_execute(&damage).await.unwrap();
        assert_eq!(lab.take_one(&enabled).await, APPLIED);
        assert_eq!(host(&lab).await, right);
        let history = "SELECT status FROM stripe.account_transition";
        assert_eq!(lab.rows(history).await, ["ENABLED"]);
    }
}
