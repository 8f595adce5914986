//! A host's account is made once, as Stripe wants it made, whatever goes wrong.

use std::collections::BTreeSet;

use futures_util::future::{join, join_all};
use harness::stripe_api::{Fault, Gate, Kind, Options, RateLimit, RestrictedKey};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use worker::{
    commands::{command::Name, finish::FinishCommands},
    config::commands::{AccountsApi, Bearer, Origins},
};

use crate::support::desk::{Desk, account, client, onboard, take_mark};

#[tokio::test(flavor = "multi_thread")]
async fn what_stripe_is_asked_of_an_account_of_version_2_is_this_and_nothing_else() {
    let desk = Desk::new().await;
    let mut data = onboard("42");
    data["entityType"] = "individual".into();
    data["currency"] = "eur".into();
    data["displayName"] = "Anna".into();
    data["capabilities"] = json!(["sepa_debit_payments"]);
    let id = account(&desk.run(Name::HostOnboard, data).await.unwrap());
    let mut made = desk.requests("/v2/core/accounts")[0].clone();
    let _ = take_mark(&mut made.params);
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
        let mut made = desk.requests("/v1/accounts")[0].clone();
        let _ = take_mark(&mut made.params);
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

/// While an account is being made its event may come, and another account's holder may write
/// the host's id into its metadata: Stripe's answer says which it is.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_names_the_host_is_not_taken_for_the_one_that_is_made() {
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
    let forged = desk.api.enabled_account("ES", &json!({ "hostId": "42" }));
    let status = async || {
        let data = json!({ "hostId": "42" });
        desk.run(Name::HostStatus, data).await
    };
    for account in [&forged, &id] {
        desk.api.finish_onboarding(account);
    }
    desk.take_events().await;
    let error = status().await.unwrap_err();
    assert_eq!((error.code, error.retryable), ("in_progress", true));
    assert_eq!(desk.records().await, ["host.onboard:42 1 in_progress f"]);
    gate.release_all();
    let known = loop {
        match status().await {
            Ok(known) => break known,
            Err(error) => assert_eq!(error.code, "in_progress"),
        }
    };
    assert_eq!(known["stripeAccountId"], *id);
    assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
    assert_eq!(account(&desk.onboard("42").await.unwrap()), id);
}

/// Stripe's second version carries out what failed when it comes again. So a failure begins no
/// other attempt: the key of the first is the only one that can make an account.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_second_version_leaves_the_attempt_open() {
    let desk = Desk::new().await;
    let failing = Kind::Status500 { took_effect: false };
    let path = "/v2/core/accounts";
    desk.api.fault(Fault::post(path, failing).times(20));
    let error = desk.onboard("42").await.unwrap_err();
    assert_eq!((error.code, error.retryable), ("stripe_unavailable", true));
    assert_eq!(desk.records().await, ["host.onboard:42 1 in_progress f"]);
    desk.api.clear_faults();
    let both = join(desk.onboard("42"), desk.onboard("42")).await;
    let answered = [both.0, both.1].into_iter().filter_map(Result::ok);
    assert!(answered.count() > 0);
    assert_eq!(desk.api.accounts().len(), 1);
    let made = desk.requests(path).into_iter();
    let made = made.filter(|one| one.path == path && one.method == "POST");
    let keys: BTreeSet<_> = made.map(|one| one.idempotency_key).collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
}

/// A worker died while Stripe made the account; the next one has a key that may not go on. What
/// was made is not forgotten over that.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_go_on_does_not_end_the_attempt() {
    let options = Options {
        restricted_keys: vec![RestrictedKey::new("rk_test_1", &["events_read"])],
        ..Options::default()
    };
    for (key, code) in [
        ("rk_test_1", "accounts_v2_unavailable"),
        ("sk_test_wrong", "stripe_key_refused"),
    ] {
        let mut desk = Desk::with(options.clone(), |_| {}).await;
        let gate = Gate::new();
        desk.api.fault(Fault::post(
            "/v2/core/accounts",
            Kind::HeldAfter(gate.clone()),
        ));
        tokio::select! {
            answer = desk.onboard("42") => panic!("{answer:?}"),
            () = gate.reached() => {}
        }
        gate.release_all();
        let right = desk.service.client.replace(client(&desk.api, key, None));
        let error = loop {
            match desk.onboard("42").await.unwrap_err() {
                error if error.code == "in_progress" => {}
                error => break error,
            }
        };
        assert_eq!(error.code, code, "{error:?}");
        assert_eq!(desk.records().await, ["host.onboard:42 1 in_progress f"]);
        desk.service.client = right;
        desk.onboard("42").await.unwrap();
        assert_eq!(desk.api.accounts().len(), 1);
        assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
    }
}

/// After a failure the account is looked for; one that names the host, and that somebody else
/// made meanwhile, is not it.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_somebody_else_is_not_found_for_the_one_that_failed() {
    for api in [AccountsApi::V1, AccountsApi::V2] {
        let desk = Desk::with(Options::default(), |set| set.accounts_api = api).await;
        let forged = desk.api.enabled_account("ES", &json!({ "hostId": "42" }));
        let failing = Kind::Status500 { took_effect: false };
        let path = match api {
            AccountsApi::V2 => "/v2/core/accounts",
            _ => "/v1/accounts",
        };
        desk.api.fault(Fault::post(path, failing));
        let answer = loop {
            match desk.onboard("42").await {
                Ok(answer) => break answer,
                Err(error) => assert!(error.retryable, "{error:?}"),
            }
        };
        assert_ne!(account(&answer), forged);
        assert_eq!(desk.api.accounts().len(), 2);
    }
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
