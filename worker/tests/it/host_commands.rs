//! The commands about hosts, against a stand-in for Stripe; how their accounts are made is in
//! `host_accounts.rs`, and what becomes of accounts that only name a host in `adopt.rs`.

use harness::{
    stripe::Event,
    stripe_api::{Fault, Kind, Options, QueuedEvent, RestrictedKey},
};
use serde_json::{Value, json};
use worker::{
    commands::command::Name, config::commands::AccountsApi, jobs::read_accounts::ReadAccounts,
    metrics::Metrics,
};

use crate::support::desk::{Desk, account, client, onboard};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_becomes_a_host_that_can_sell() {
    let desk = Desk::new().await;
    let answer = desk.onboard("42").await.unwrap();
    let id = account(&answer);
    assert!(answer["url"].as_str().unwrap().starts_with("https://"));
    assert!(answer["expiresAt"].as_str().unwrap().ends_with('Z'));
    assert_eq!(answer["status"], "INCOMPLETE");
    // The row is there before the first webhook.
    assert_eq!(desk.hosts().await, ["42 INCOMPLETE f"]);
    let status = desk
        .run(Name::HostStatus, json!({ "hostId": "42" }))
        .await
        .unwrap();
    assert_eq!(status["canSell"], false);
    assert_eq!(status["words"][0], "The host may not sell.");

    desk.api.finish_onboarding(&id);
    desk.take_events().await;
    assert_eq!(desk.hosts().await, ["42 ENABLED t"]);
    let status = desk
        .run(Name::HostStatus, json!({ "hostId": 42 }))
        .await
        .unwrap();
    assert_eq!(
        (&status["status"], &status["canSell"]),
        (&json!("ENABLED"), &json!(true))
    );
    assert_eq!(
        status["words"],
        json!(["The host may sell.", "Nothing is due."])
    );
    // What it says is the row that the main app reads, with each of its columns.
    let row = r#"SELECT to_jsonb(h)::text FROM "HostOnboarding" h"#;
    let [row] = desk.lab.rows(row).await.try_into().unwrap();
    let row: Value = serde_json::from_str(&row).unwrap();
    for (column, value) in row.as_object().unwrap() {
        match (column.ends_with("At"), &status[column]) {
            // To the second.
            (true, said) => {
                let (said, value) = (said.as_str().unwrap(), value.as_str().unwrap());
                assert_eq!(said.get(..19), value.get(..19), "{column}");
            }
            (false, said) => assert_eq!(said, value, "{column}"),
        }
    }

    // An enabled host needs no form.
    let again = desk.onboard("42").await.unwrap();
    assert_eq!(
        again,
        json!({ "stripeAccountId": id, "url": null, "expiresAt": null, "status": "ENABLED" })
    );
    assert_eq!(desk.api.accounts().len(), 1);
    assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_every_command_says_so() {
    let mut desk = Desk::new().await;
    desk.service.client = None;
    for name in Name::ALL {
        let error = desk.run(*name, json!({})).await.unwrap_err();
        assert_eq!(error.code, "not_configured");
        assert!(error.message.contains("STRIPE_API_KEY"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_is_told_apart_from_a_wrong_one() {
    let options = Options {
        restricted_keys: vec![RestrictedKey::new("rk_test_1", &["accounts_read"])],
        ..Options::default()
    };
    let mut desk = Desk::with(options, |_| {}).await;
    for (key, code) in [
        ("rk_test_1", "stripe_permission"),
        ("sk_test_wrong", "stripe_key_refused"),
    ] {
        for api in [AccountsApi::V1, AccountsApi::V2] {
            desk.service.client = Some(client(&desk.api, key, None));
            desk.service.settings.accounts_api = api;
            let error = desk.onboard("42").await.unwrap_err();
            assert_eq!((error.code, error.retryable), (code, false), "{api:?}");
        }
    }
}

/// Stripe opens no closed account again, and tells nothing of it. So it is disconnected, in
/// whichever order its events come, and is not asked about.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_is_disconnected_whatever_else_is_heard_of_it() {
    for leaves_before in [false, true] {
        let desk = Desk::new().await;
        let id = account(&desk.onboard("42").await.unwrap());
        desk.api.finish_onboarding(&id);
        desk.take_events().await;
        if leaves_before {
            desk.api.deauthorize(&id);
        }
        desk.api.advance(std::time::Duration::from_secs(60));
        desk.api.close(&id);
        let closing = desk.api.take_events();
        let mut closing: Vec<_> = closing.iter().map(QueuedEvent::bytes).collect();
        closing.reverse();
        // The account as it was closed, a moment later, and what changed with it.
        let later = harness::stripe::now() + 120;
        let mut object = desk.api.account(&id).unwrap();
        object["charges_enabled"] = true.into();
        for (event, kind) in [
            ("evt_a", "account.updated"),
            ("evt_b", "v2.core.account.updated"),
        ] {
            let event = Event::new(event, kind, object.clone());
            closing.push(event.of_account(&id).at(later).bytes());
        }
        let before = desk.api.requests().len();
        for body in closing {
            desk.lab.take_bytes(&[body]).await;
        }
        let (pool, client) = (
            desk.service.pool.clone(),
            desk.service.client.clone().unwrap(),
        );
        let mut job = ReadAccounts::new(pool, client, Metrics::default().accounts_read);
        job.read_all().await.unwrap();
        assert_eq!(desk.api.requests().len(), before, "{leaves_before}");
        assert_eq!(desk.hosts().await, ["42 DISCONNECTED f"], "{leaves_before}");
        let status = desk
            .run(Name::HostStatus, json!({ "hostId": "42" }))
            .await
            .unwrap();
        assert_eq!(status["status"], "DISCONNECTED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_host_gets_no_link() {
    let desk = Desk::new().await;
    let id = account(&desk.onboard("42").await.unwrap());
    desk.api.reject(&id);
    desk.take_events().await;
    let answer = desk.onboard("42").await.unwrap();
    assert_eq!(
        (&answer["status"], &answer["url"]),
        (&json!("REJECTED"), &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_dashboards_are_the_hosts_own() {
    let desk = Desk::new().await;
    let unknown = desk
        .run(Name::HostDashboard, json!({ "hostId": "42" }))
        .await;
    assert_eq!(unknown.unwrap_err().code, "host_unknown");
    let id = account(&desk.onboard("42").await.unwrap());
    let wanted = json!({ "hostId": "42", "components": ["account_onboarding", "payments"] });
    let session = desk.run(Name::HostSession, wanted).await.unwrap();
    assert_eq!(session["stripeAccountId"], *id);
    assert!(!session["clientSecret"].as_str().unwrap().is_empty());
    let asked = &desk.requests("/v1/account_sessions")[0];
    assert_eq!(
        asked.params,
        json!({
            "account": id,
            "components": {
                "account_onboarding": { "enabled": true }, "payments": { "enabled": true },
            },
        })
    );
    for wrong in [json!([]), json!(["balances"]), json!("payments")] {
        let wrong = json!({ "hostId": "42", "components": wrong });
        let error = desk.run(Name::HostSession, wrong).await.unwrap_err();
        assert_eq!(error.field.as_deref(), Some("components"));
    }
    desk.api.finish_onboarding(&id);
    let login = desk
        .run(Name::HostDashboard, json!({ "hostId": "42" }))
        .await
        .unwrap();
    assert!(login["url"].as_str().unwrap().starts_with("https://"));
    let asked = desk.requests("/v1/accounts/").pop().unwrap();
    assert_eq!(
        (asked.method, asked.path, asked.params),
        (
            "POST".to_owned(),
            format!("/v1/accounts/{id}/login_links"),
            json!({})
        )
    );
    // It is the platform that asks, not the account.
    assert_eq!((asked.query, asked.stripe_account), (String::new(), None));

    for (dashboard, expected) in [
        ("full", Ok("https://dashboard.stripe.com/")),
        ("none", Err("no_dashboard")),
    ] {
        let mut data = onboard(dashboard);
        data["dashboard"] = dashboard.into();
        desk.run(Name::HostOnboard, data).await.unwrap();
        let answer = desk
            .run(Name::HostDashboard, json!({ "hostId": dashboard }))
            .await;
        let answer = answer.map(|answer| answer["url"].as_str().unwrap().to_owned());
        assert_eq!(answer.as_deref().map_err(|error| error.code), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_lacks_for_invoices_is_named() {
    let desk = Desk::with(Options::default(), |set| set.automatic_tax = true).await;
    let id = account(&desk.onboard("42").await.unwrap());
    let fields = async || -> (Value, Vec<String>) {
        let answer = desk
            .run(Name::HostInvoicing, json!({ "hostId": "42" }))
            .await
            .unwrap();
        let missing = answer["missing"].as_array().unwrap().iter();
        let missing = missing.map(|one| one["field"].as_str().unwrap().to_owned());
        (answer["ready"].clone(), missing.collect())
    };
    let (ready, missing) = fields().await;
    assert_eq!(ready, false);
    assert!(
        missing.contains(&"capabilities.card_payments".to_owned()),
        "{missing:?}"
    );
    assert!(
        missing.contains(&"tax.registrations".to_owned()),
        "{missing:?}"
    );
    desk.api.finish_onboarding(&id);
    desk.api.change_account(&id, |account| {
        account["business_profile"]["name"] = "Anna".into();
        account["business_profile"]["support_address"] = json!({ "line1": "Street 1" });
        account["settings"]["branding"]["icon"] = "file_1".into();
        account["settings"]["invoices"]["default_account_tax_ids"] = json!(["txi_1"]);
    });
    desk.api.set_head_office(&id, Some("ES"));
    let (ready, missing) = fields().await;
    assert_eq!(
        (ready, missing),
        (json!(false), vec!["tax.registrations".to_owned()])
    );
    // One that is over or has not begun collects nothing.
    for status in ["expired", "scheduled"] {
        let _ = desk.api.register_for_tax(&id, "ES", status);
        let (ready, missing) = fields().await;
        assert_eq!(
            (ready, missing),
            (json!(false), vec!["tax.registrations".to_owned()]),
            "{status}"
        );
    }
    let _ = desk.api.register_for_tax(&id, "ES", "active");
    desk.api.forget_requests();
    let (ready, missing) = fields().await;
    assert_eq!((ready, missing), (json!(true), Vec::new()));
    let asked = desk.api.requests().into_iter();
    let asked: Vec<_> = asked
        .map(|one| (one.method, one.path, one.params, one.stripe_account))
        .collect();
    let get = |path: String, params, account: Option<&str>| {
        let account = account.map(str::to_owned);
        ("GET".to_owned(), path, params, account)
    };
    assert_eq!(
        asked,
        [
            get(format!("/v1/accounts/{id}"), json!({}), None),
            get("/v1/tax/settings".into(), json!({}), Some(&id)),
            get(
                "/v1/tax/registrations".into(),
                json!({ "status": "active", "limit": 1 }),
                Some(&id)
            ),
        ]
    );
}

/// Thin events say that an account changed; it is read then, and ends as its snapshots would
/// have it.
#[tokio::test(flavor = "multi_thread")]
async fn thin_events_lead_to_the_same_row_as_snapshots() {
    // All but the account, which is another one each time, and times.
    const ROW: &str = r#"SELECT (to_jsonb(h) - '{stripeAccountId,currentDeadline,lastEventAt,updatedAt,createdAt}'::text[]
            || jsonb_build_object('deadline', "currentDeadline" IS NOT NULL))::text
        FROM "HostOnboarding" h"#;
    let mut ends = Vec::new();
    for (snapshots, thin) in [(true, false), (false, true), (true, true)] {
        let options = Options {
            snapshot_events: snapshots,
            thin_events: thin,
            ..Options::default()
        };
        let desk = Desk::with(options, |_| {}).await;
        let id = account(&desk.onboard("42").await.unwrap());
        let read = || async {
            let (pool, client) = (
                desk.service.pool.clone(),
                desk.service.client.clone().unwrap(),
            );
            let mut job = ReadAccounts::new(pool, client, Metrics::default().accounts_read);
            job.read_all().await.unwrap();
        };
        desk.api.finish_onboarding(&id);
        desk.take_events().await;
        read().await;
        assert_eq!(desk.hosts().await, ["42 ENABLED t"], "{snapshots} {thin}");
        desk.api.advance(std::time::Duration::from_secs(60));
        desk.api.require(&id, &["individual.verification.document"]);
        desk.take_events().await;
        read().await;
        let [row] = desk.lab.rows(ROW).await.try_into().unwrap();
        ends.push(serde_json::from_str::<Value>(&row).unwrap());
        // What was read is not read again.
        let before = desk.api.requests().len();
        read().await;
        assert_eq!(desk.api.requests().len(), before);
        let api_needed = "SELECT api_needed::text FROM stripe.account";
        assert_eq!(desk.lab.rows(api_needed).await, ["false"]);
    }
    assert_eq!(ends[0]["status"], "RESTRICTED_SOON");
    assert_eq!(
        ends[0]["currentlyDue"],
        json!(["individual.verification.document"])
    );
    assert_eq!(ends[0]["deadline"], true);
    for end in &ends[1..] {
        assert_eq!(*end, ends[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_counted() {
    let desk = Desk::new().await;
    desk.onboard("42").await.unwrap();
    let reads = desk
        .api
        .requests()
        .iter()
        .filter(|one| one.method == "GET")
        .count();
    assert!(reads > 0);
    let counted = desk
        .lab
        .rows("SELECT sum(reads)::text FROM stripe.api_read")
        .await;
    assert_eq!(counted, [reads.to_string()]);
    let conn = desk.service.pool.get().await.unwrap();
    let now = store::api_read::reads(&conn).await.unwrap();
    assert_eq!((now.allowed, now.has_room()), (10_000, true));
    desk.lab
        .client
        .execute("UPDATE stripe.api_read SET reads = 9500", &[])
        .await
        .unwrap();
    assert!(!store::api_read::reads(&conn).await.unwrap().has_room());
}

/// Each write is tried under one key, so that a try whose answer is lost makes no second link.
#[tokio::test(flavor = "multi_thread")]
async fn every_write_has_an_idempotency_key() {
    let desk = Desk::new().await;
    let id = account(&desk.onboard("42").await.unwrap());
    let wanted = json!({ "hostId": "42", "components": ["payments"] });
    let sessions = "/v1/account_sessions";
    desk.api
        .fault(Fault::post(sessions, Kind::Drop { took_effect: true }));
    desk.run(Name::HostSession, wanted).await.unwrap();
    desk.api.finish_onboarding(&id);
    desk.run(Name::HostDashboard, json!({ "hostId": "42" }))
        .await
        .unwrap();
    let writes = desk.api.requests().into_iter();
    let writes: Vec<_> = writes.filter(|one| one.method == "POST").collect();
    for write in &writes {
        let key = write.idempotency_key.as_deref().unwrap_or_default();
        assert!(key.starts_with("dialoom-"), "{write:?}");
    }
    let tries: Vec<_> = writes.iter().filter(|one| one.path == sessions).collect();
    assert_eq!(tries.len(), 2);
    assert_eq!(tries[0].idempotency_key, tries[1].idempotency_key);
    assert!(tries[1].replayed);
    let mut keys: Vec<_> = writes.iter().map(|one| &one.idempotency_key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), writes.len() - 1);
}

/// What Stripe says of retries counts before the status: a failure that it does not want again is
/// not sent again, and a refusal that it does is.
#[tokio::test(flavor = "multi_thread")]
async fn stripes_word_on_retries_is_heeded() {
    const NO: &str = r#"{"error":{"type":"invalid_request_error","message":"No."}}"#;
    let desk = Desk::new().await;
    desk.onboard("42").await.unwrap();
    let wanted = json!({ "hostId": "42", "components": ["payments"] });
    let sessions = "/v1/account_sessions";
    let refused = Kind::Answered {
        status: 400,
        body: NO,
    };
    for (kind, should_retry, tries, code) in [
        (Kind::Unkept500, None, 2, None),
        (Kind::Unkept500, Some(false), 1, Some("stripe_unavailable")),
        (refused.clone(), None, 1, Some("stripe_refused")),
        (refused, Some(true), 2, None),
    ] {
        desk.api.forget_requests();
        let mut fault = Fault::post(sessions, kind);
        fault.should_retry = should_retry;
        desk.api.fault(fault);
        let answer = desk.run(Name::HostSession, wanted.clone()).await;
        assert_eq!(answer.err().map(|error| error.code), code);
        assert_eq!(desk.requests(sessions).len(), tries, "{should_retry:?}");
    }
}
