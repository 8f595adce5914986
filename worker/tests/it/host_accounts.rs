//! A host's account is made once, as Stripe wants it made, whatever goes wrong.

mod finished_by_job;
mod interrupted;
mod refused;

use futures_util::future::join_all;
use harness::stripe_api::{Fault, Gate, Kind, Options, RateLimit, Recorded};
use serde_json::json;
use worker::{
    commands::{command::Name, finish::FinishCommands, service::CommandService},
    config::commands::{AccountsApi, Bearer, Origins},
};

use crate::support::desk::{Desk, account, onboard, take_mark};

/// Where accounts of version 2 are made.
const ACCOUNTS: &str = "/v2/core/accounts";

/// Where accounts are made.
fn path(api: AccountsApi) -> &'static str {
    match api {
        AccountsApi::V2 => ACCOUNTS,
        AccountsApi::V1 | AccountsApi::V1Type => "/v1/accounts",
    }
}

type Held = fn(Gate) -> Kind;

/// The command for host 42 is dropped where its process would die: while Stripe holds its
/// request to this path, until the gate is opened.
async fn dies(desk: &Desk, path: &str, held: Held) -> Gate {
    let gate = Gate::new();
    desk.api.fault(Fault::post(path, held(gate.clone())));
    tokio::select! {
        answer = desk.onboard("42") => panic!("{path}: {answer:?}"),
        () = gate.reached() => {}
    }
    gate
}

/// The job that finishes what interrupted commands began.
fn job(desk: &Desk) -> FinishCommands {
    FinishCommands {
        service: desk.service.clone(),
        client: desk.service.client.clone().unwrap(),
    }
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

/// Two workers have the same command: they share nothing but the database and Stripe.
#[tokio::test(flavor = "multi_thread")]
async fn two_workers_at_once_make_one_account() {
    for api in [AccountsApi::V1, AccountsApi::V2] {
        let desk = Desk::with(Options::default(), |set| set.accounts_api = api).await;
        let other = desk.other_worker();
        let path = match api {
            AccountsApi::V2 => "/v2/core/accounts",
            AccountsApi::V1 | AccountsApi::V1Type => "/v1/accounts",
        };
        let gate = Gate::new();
        let held = Kind::HeldBefore(gate.clone());
        desk.api.fault(Fault::post(path, held));
        let open = async {
            // Both are at Stripe when the first one takes effect.
            let is_it = |one: &Recorded| one.method == "POST" && one.path == path;
            desk.api.wait_for_requests(2, is_it).await.unwrap();
            gate.release_all();
        };
        let both = async |service: &CommandService| {
            Box::pin(service.run(Name::HostOnboard, onboard("42"))).await
        };
        let (first, second, ()) = tokio::join!(both(&desk.service), both(&other), open);
        let accounts = desk.api.accounts();
        assert_eq!(accounts.len(), 1, "{api:?}");
        let mut answered = 0;
        for answer in [first, second] {
            match answer {
                Ok(answer) => {
                    assert_eq!(accounts[0]["id"], answer["stripeAccountId"]);
                    answered += 1;
                }
                // The key was in use for longer than it tried.
                Err(error) => assert_eq!((error.code, error.retryable), ("in_progress", true)),
            }
        }
        assert!(answered > 0, "{api:?}");
        for service in [&desk.service, &other] {
            let again = both(service).await.unwrap();
            assert_eq!(accounts[0]["id"], again["stripeAccountId"]);
        }
        assert_eq!(desk.api.accounts().len(), 1, "{api:?}");
        assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
        assert_eq!(desk.hosts().await, ["42 INCOMPLETE f"]);
    }
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
    let host = json!({ "hostId": "42" });
    let status = desk.run(Name::HostStatus, host.clone()).await.unwrap();
    assert_eq!(
        (&status["stripeAccountId"], &status["status"]),
        (&json!(first), &json!("DISCONNECTED"))
    );
    assert_eq!(
        status["words"][1],
        "The host has cut the connection to the platform, or the account is closed."
    );
    // All that needs the account does not find it.
    for name in [Name::HostDashboard, Name::HostInvoicing] {
        let error = desk.run(name, host.clone()).await.unwrap_err();
        assert_eq!(error.code, "host_unknown");
    }
    let second = account(&desk.onboard("42").await.unwrap());
    assert_ne!(first, second);
    assert_eq!(desk.records().await, ["host.onboard:42 2 done t"]);
}
