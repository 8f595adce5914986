//! The commands about hosts, against a stand-in for Stripe.

use futures_util::future::join_all;
use harness::{
    stripe::Event,
    stripe_api::{Fault, Gate, Kind, Options, RateLimit, RestrictedKey},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use worker::{
    commands::{command::Name, finish::FinishCommands},
    config::commands::{AccountsApi, Bearer, Origins},
    jobs::read_accounts::ReadAccounts,
    metrics::Metrics,
};

use crate::support::desk::{Desk, client, onboard};

/// The account's id in an answer.
fn account(answer: &Value) -> String {
    answer["stripeAccountId"].as_str().unwrap().to_owned()
}

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
async fn what_stripe_is_asked_of_an_account_of_version_2_is_this_and_nothing_else() {
    let desk = Desk::new().await;
    let mut data = onboard("42");
    data["entityType"] = "individual".into();
    data["currency"] = "eur".into();
    data["displayName"] = "Anna".into();
    data["capabilities"] = json!(["sepa_debit_payments"]);
    let id = account(&desk.run(Name::HostOnboard, data).await.unwrap());
    let made = &desk.requests("/v2/core/accounts")[0];
    assert_eq!(
        (made.method.as_str(), made.path.as_str()),
        ("POST", "/v2/core/accounts")
    );
    assert_eq!(made.stripe_version.as_deref(), Some("2026-10-28.endive"));
    assert!(
        made.idempotency_key
            .as_deref()
            .unwrap()
            .starts_with("dialoom-")
    );
    assert_eq!(made.stripe_account, None);
    let requested = json!({ "requested": true });
    assert_eq!(
        made.params,
        json!({
            "contact_email": "anna@example.org",
            "display_name": "Anna",
            "dashboard": "express",
            "identity": { "country": "ES", "entity_type": "individual" },
            "configuration": {
                "merchant": {
                    "capabilities": { "card_payments": requested, "sepa_debit_payments": requested },
                },
                "recipient": {
                    "capabilities": { "stripe_balance": { "stripe_transfers": requested } },
                },
            },
            "defaults": {
                "currency": "eur",
                "responsibilities": {
                    "fees_collector": "application", "losses_collector": "application",
                },
            },
            "metadata": { "hostId": "42" },
            "include": [
                "configuration.merchant", "configuration.recipient", "defaults", "identity",
                "requirements",
            ],
        })
    );
    let link = &desk.requests("/v2/core/account_links")[0];
    assert_eq!(
        link.params,
        json!({
            "account": id,
            "use_case": {
                "type": "account_onboarding",
                "account_onboarding": {
                    "refresh_url": "https://app.example.com/again",
                    "return_url": "https://app.example.com/done",
                },
            },
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn version_1_makes_the_same_host_by_type_or_controller() {
    for (api, dashboard, field, value) in [
        (AccountsApi::V1Type, "express", "type", json!("express")),
        (AccountsApi::V1Type, "full", "type", json!("standard")),
        (
            AccountsApi::V1,
            "express",
            "controller",
            json!({
                "fees": { "payer": "application" }, "losses": { "payments": "application" },
                "requirement_collection": "stripe", "stripe_dashboard": { "type": "express" },
            }),
        ),
    ] {
        let desk = Desk::with(Options::default(), |set| set.accounts_api = api).await;
        let mut data = onboard("42");
        data["dashboard"] = dashboard.into();
        let answer = desk.run(Name::HostOnboard, data).await.unwrap();
        let made = &desk.requests("/v1/accounts")[0];
        let requested = json!({ "requested": true });
        let mut expected = json!({
            "email": "anna@example.org", "country": "ES",
            "capabilities": { "card_payments": requested, "transfers": requested },
            "metadata": { "hostId": "42" },
        });
        expected[field] = value;
        assert_eq!(made.params, expected);
        let link = &desk.requests("/v1/account_links")[0];
        assert_eq!(
            link.params,
            json!({
                "account": account(&answer), "type": "account_onboarding",
                "refresh_url": "https://app.example.com/again",
                "return_url": "https://app.example.com/done",
            })
        );
        assert_eq!(desk.hosts().await, ["42 INCOMPLETE f"]);
    }
}

/// A platform without access is told what to set.
#[tokio::test(flavor = "multi_thread")]
async fn a_platform_without_version_2_hears_which_setting_to_choose() {
    let options = Options {
        v2_enabled: false,
        ..Options::default()
    };
    let desk = Desk::with(options, |_| {}).await;
    let error = desk.onboard("42").await.unwrap_err();
    assert_eq!(error.code, "accounts_v2_unavailable");
    assert!(error.message.contains("STRIPE_ACCOUNTS_API=v1"));
    assert!(!error.retryable);
    assert_eq!(
        desk.records().await,
        ["host.onboard:42 1 failed accounts_v2_unavailable t"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_at_once_get_one_account() {
    let desk = Desk::new().await;
    let gate = Gate::new();
    desk.api.fault(Fault::post(
        "/v2/core/accounts",
        Kind::HeldBefore(gate.clone()),
    ));
    let callers = (0..8).map(|_| desk.onboard("42"));
    let all = join_all(callers);
    let open = async {
        gate.reached().await;
        gate.release_all();
    };
    let (answers, ()) = tokio::join!(all, open);
    let mut ids: Vec<String> = Vec::new();
    for answer in answers {
        match answer {
            Ok(answer) => ids.push(account(&answer)),
            // The key was in use for longer than it tried.
            Err(error) => assert_eq!((error.code, error.retryable), ("in_progress", true)),
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(desk.api.accounts().len(), 1);
    assert_eq!(account(&desk.onboard("42").await.unwrap()), ids[0]);
}

/// Whatever goes wrong with the request that makes the account, and whenever the worker is
/// stopped: there is one account in the end, and the host has it.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_once_whatever_goes_wrong() {
    let wrong = |took_effect| [Kind::Status500 { took_effect }, Kind::Drop { took_effect }];
    let mut kinds: Vec<Kind> = [true, false].into_iter().flat_map(wrong).collect();
    kinds.push(Kind::Conflict409);
    kinds.extend(RateLimit::ALL.map(Kind::RateLimited));
    for api in [AccountsApi::V2, AccountsApi::V1] {
        let desk = Desk::with(Options::default(), |set| set.accounts_api = api).await;
        let path = match api {
            AccountsApi::V2 => "/v2/core/accounts",
            AccountsApi::V1 | AccountsApi::V1Type => "/v1/accounts",
        };
        for kind in &kinds {
            for times in [1, 4] {
                let before = desk.api.accounts().len();
                let host = before.to_string();
                desk.api.fault(Fault::post(path, kind.clone()).times(times));
                let mut tries = 0;
                let answer = loop {
                    tries += 1;
                    match desk.onboard(&host).await {
                        Ok(answer) => break answer,
                        Err(error) => {
                            assert!(error.retryable, "{kind:?}: {error:?}");
                            assert!(tries < 6, "{kind:?} {times}: {error:?}");
                        }
                    }
                };
                desk.api.clear_faults();
                let accounts = desk.api.accounts();
                assert_eq!(accounts.len(), before + 1, "{kind:?} {times} {api:?}");
                let made = accounts
                    .iter()
                    .find(|one| one["metadata"]["hostId"] == *host);
                assert_eq!(made.unwrap()["id"], answer["stripeAccountId"]);
                assert_eq!(desk.hosts().await.len(), before + 1);
            }
        }
    }
}

/// The future is dropped where the process would die: before Stripe acts, after it, and
/// while the link is made.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_dies_anywhere_is_finished_by_the_next_one() {
    type Held = fn(Gate) -> Kind;
    let (before, after): (Held, Held) = (Kind::HeldBefore, Kind::HeldAfter);
    for (path, held) in [
        ("/v2/core/accounts", before),
        ("/v2/core/accounts", after),
        ("/v2/core/account_links", before),
        ("/v2/core/account_links", after),
    ] {
        let desk = Desk::new().await;
        let gate = Gate::new();
        desk.api.fault(Fault::post(path, held(gate.clone())));
        tokio::select! {
            answer = desk.onboard("42") => panic!("{path}: {answer:?}"),
            () = gate.reached() => {}
        }
        gate.release_all();
        let answer = desk.onboard("42").await.unwrap();
        let accounts = desk.api.accounts();
        assert_eq!(accounts.len(), 1, "{path}");
        assert_eq!(accounts[0]["id"], answer["stripeAccountId"]);
        assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
    }
}

/// Nobody asks again: the job finishes it all the same, or finds that nothing was made.
#[tokio::test(flavor = "multi_thread")]
async fn what_interrupted_commands_began_is_finished_by_the_job() {
    type Held = fn(Gate) -> Kind;
    let (before, after): (Held, Held) = (Kind::HeldBefore, Kind::HeldAfter);
    for held in [before, after] {
        let desk = Desk::new().await;
        let gate = Gate::new();
        desk.api
            .fault(Fault::post("/v2/core/accounts", held(gate.clone())));
        tokio::select! {
            answer = desk.onboard("42") => panic!("{answer:?}"),
            () = gate.reached() => {}
        }
        gate.release_all();
        let job = FinishCommands {
            service: desk.service.clone(),
            client: desk.service.client.clone().unwrap(),
        };
        let stop = CancellationToken::new();
        // It was begun just now: whoever did so may be at it.
        let now = shared::clock::now_utc();
        let earlier = now - chrono::TimeDelta::minutes(2);
        job.finish(earlier, &stop).await.unwrap();
        assert_eq!(desk.records().await, ["host.onboard:42 1 in_progress f"]);
        let later = now + chrono::TimeDelta::minutes(2);
        job.finish(later, &stop).await.unwrap();
        assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
        assert_eq!(desk.api.accounts().len(), 1);
    }
}

/// The event of the account may overtake the answer that it was made.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_before_the_answer_ends_the_attempt() {
    let desk = Desk::new().await;
    let gate = Gate::new();
    desk.api.fault(Fault::post(
        "/v2/core/accounts",
        Kind::HeldAfter(gate.clone()),
    ));
    tokio::select! {
        answer = desk.onboard("42") => panic!("{answer:?}"),
        () = gate.reached() => {}
    }
    let id = desk.api.accounts()[0]["id"].as_str().unwrap().to_owned();
    desk.api.finish_onboarding(&id);
    desk.take_events().await;
    assert_eq!(desk.records().await, ["host.onboard:42 1 in_progress f"]);
    let status = desk
        .run(Name::HostStatus, json!({ "hostId": "42" }))
        .await
        .unwrap();
    assert_eq!(status["stripeAccountId"], *id);
    assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
    gate.release_all();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_account_can_be_asked_for_again_in_another_way() {
    let desk = Desk::new().await;
    let mut data = onboard("42");
    data["country"] = "ZZ".into();
    let error = desk.run(Name::HostOnboard, data).await.unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        ("stripe_refused", Some("country"))
    );
    assert_eq!(
        desk.records().await,
        ["host.onboard:42 1 failed stripe_refused t"]
    );
    assert!(desk.hosts().await.is_empty());
    desk.onboard("42").await.unwrap();
    assert_eq!(desk.records().await, ["host.onboard:42 2 done t"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_payload_for_the_same_host_is_an_error() {
    let desk = Desk::new().await;
    let id = account(&desk.onboard("42").await.unwrap());
    let mut other = onboard("42");
    other["country"] = "FR".into();
    let error = desk.run(Name::HostOnboard, other).await.unwrap_err();
    assert_eq!(
        (error.code, error.retryable),
        ("host_has_other_account", false)
    );
    // The address and the pages are not what makes the account.
    let mut moved = onboard("42");
    moved["email"] = "anna@elsewhere.example".into();
    moved["returnUrl"] = "https://app.example.com/else".into();
    assert_eq!(
        account(&desk.run(Name::HostOnboard, moved).await.unwrap()),
        id
    );
    assert_eq!(desk.api.accounts().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_refused_is_refused_before_stripe_is_asked() {
    let desk = Desk::with(Options::default(), |set| set.losses = Some(Bearer::Stripe)).await;
    let error = desk.onboard("42").await.unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        ("combination_refused", Some("dashboard"))
    );
    let mut elsewhere = onboard("42");
    elsewhere["returnUrl"] = "https://app.example.com.evil.example/".into();
    let error = desk.run(Name::HostOnboard, elsewhere).await.unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        ("redirect_refused", Some("returnUrl"))
    );
    let mut unknown = onboard("42");
    unknown["hostID"] = 1.into();
    let error = desk.run(Name::HostOnboard, unknown).await.unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        ("invalid_command", Some("hostID"))
    );
    assert!(desk.api.requests().is_empty());
    assert!(desk.records().await.is_empty());

    let desk = Desk::with(Options::default(), |set| set.origins = Origins::default()).await;
    let error = desk.onboard("42").await.unwrap_err();
    assert!(error.message.contains("REDIRECT_ORIGINS"), "{error:?}");
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
        desk.service.client = Some(client(&desk.api, key, None));
        desk.service.settings.accounts_api = AccountsApi::V1;
        let error = desk.onboard("42").await.unwrap_err();
        assert_eq!((error.code, error.retryable), (code, false));
    }
}

/// A host whose account an app made before there were commands keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_names_the_host_is_taken_over() {
    let desk = Desk::new().await;
    let mut other = harness::stripe::Account::fresh("acct_old", "42");
    desk.lab
        .take_one(&Event::new("evt_1", "account.updated", other.clone()).of_account("acct_old"))
        .await;
    let status = desk
        .run(Name::HostStatus, json!({ "hostId": "42" }))
        .await
        .unwrap();
    assert_eq!(status["stripeAccountId"], "acct_old");
    other["id"] = "acct_older".into();
    desk.lab
        .take_one(&Event::new("evt_2", "account.updated", other).of_account("acct_older"))
        .await;
    for name in [Name::HostStatus, Name::HostDashboard, Name::HostInvoicing] {
        let error = desk.run(name, json!({ "hostId": "42" })).await.unwrap_err();
        assert_eq!(error.code, "several_accounts");
    }
    let error = desk.onboard("42").await.unwrap_err();
    assert_eq!(error.code, "several_accounts");
    assert!(desk.api.accounts().is_empty());
}

/// A host who left and comes back gets a new account: the old one is out of reach.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_has_left_gets_another_account() {
    let desk = Desk::new().await;
    let first = account(&desk.onboard("42").await.unwrap());
    desk.api.deauthorize(&first);
    desk.take_events().await;
    assert_eq!(desk.hosts().await, ["42 DISCONNECTED f"]);
    let error = desk
        .run(Name::HostStatus, json!({ "hostId": "42" }))
        .await
        .unwrap_err();
    assert_eq!(error.code, "host_unknown");
    let second = account(&desk.onboard("42").await.unwrap());
    assert_ne!(first, second);
    assert_eq!(desk.records().await, ["host.onboard:42 2 done t"]);
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
    assert_eq!(
        desk.requests("/v1/accounts/").last().unwrap().path,
        format!("/v1/accounts/{id}/login_links")
    );

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
    let _ = desk.api.register_for_tax(&id, "ES", "active");
    let (ready, missing) = fields().await;
    assert_eq!((ready, missing), (json!(true), Vec::new()));
    assert!(
        desk.requests("/v1/tax/")
            .iter()
            .all(|one| one.stripe_account.as_deref() == Some(&id))
    );
}

/// Thin events say that an account changed; it is read then, and ends as its snapshots would
/// have it.
#[tokio::test(flavor = "multi_thread")]
async fn thin_events_lead_to_the_same_row_as_snapshots() {
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
        let rows = desk.hosts().await;
        assert_ne!(rows, ["42 ENABLED t"], "{snapshots} {thin}");
        // What was read is not read again.
        let before = desk.api.requests().len();
        read().await;
        assert_eq!(desk.api.requests().len(), before);
        let api_needed = "SELECT api_needed::text FROM stripe.account";
        assert_eq!(desk.lab.rows(api_needed).await, ["false"]);
    }
}

/// Reads are counted, and nothing of a host is logged.
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
