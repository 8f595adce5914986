//! Accounts that only name a host in their metadata: no command uses one, until an operator notes
//! it as the host's.

use harness::{
    stripe::{Account, Event},
    test_servers::TestBroker,
};
use serde_json::json;
use worker::{commands::command::Name, config::commands::HostMetadata};

use crate::support::{
    desk::{Desk, account, onboard},
    operator::{Done, Operator},
};

/// Tells the worker of an account that names a host.
async fn tell(desk: &Desk, account: &str, host: &str) {
    let object = Account::fresh(account, host);
    let event = Event::new(&format!("evt_{account}"), "account.updated", object);
    desk.lab.take_one(&event.of_account(account)).await;
}

/// The holder of an account can write any host's id into its metadata. What commands made, or
/// an operator noted, is the host's, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_only_names_a_host_is_not_used() {
    let mut desk = Desk::new().await;
    tell(&desk, "acct_named", "99").await;
    let host = json!({ "hostId": "99" });
    let with_components = json!({ "hostId": "99", "components": ["payments"] });
    let commands = [
        (Name::HostStatus, host.clone()),
        (Name::HostDashboard, host.clone()),
        (Name::HostInvoicing, host.clone()),
        (Name::HostInvoices, host.clone()),
        (Name::HostSession, with_components),
        (Name::HostOnboard, onboard("99")),
    ];
    for (name, data) in &commands {
        let error = desk.run(*name, data.clone()).await.unwrap_err();
        let code = (error.code, error.retryable);
        assert_eq!(code, ("host_account_unconfirmed", false), "{name:?}");
        assert!(error.message.contains("worker hosts adopt"));
        assert_eq!(error.about.unwrap()["accounts"], json!(["acct_named"]));
    }
    assert!(desk.api.requests().is_empty());
    assert!(desk.records().await.is_empty());

    // The operator says which it is, whoever else names the host.
    tell(&desk, "acct_other", "99").await;
    desk.adopt("99", "acct_named").await;
    let status = desk.run(Name::HostStatus, host.clone()).await.unwrap();
    assert_eq!(status["stripeAccountId"], "acct_named");

    // Where no account was made before there were commands, none that names a host holds it up.
    let lab = &desk.lab.client;
    lab.batch_execute("DELETE FROM stripe.command")
        .await
        .unwrap();
    desk.service.settings.host_metadata = HostMetadata::Ignore;
    let error = desk.run(Name::HostStatus, host.clone()).await.unwrap_err();
    assert_eq!(error.code, "host_unknown");
    let made = account(&desk.onboard("99").await.unwrap());
    assert_eq!(desk.api.accounts()[0]["id"], *made);
    // What a command made stays the host's.
    desk.service.settings.host_metadata = HostMetadata::Confirm;
    let status = desk.run(Name::HostStatus, host).await.unwrap();
    assert_eq!(status["stripeAccountId"], *made);
}

/// An attempt that made nothing shows that the host had no account: an account that names the
/// host since then holds up nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_a_command_knows_is_not_held_up_by_an_account_that_names_it() {
    let desk = Desk::new().await;
    let mut refused = onboard("99");
    refused["country"] = "ZZ".into();
    let error = desk.run(Name::HostOnboard, refused).await.unwrap_err();
    assert_eq!(error.code, "stripe_refused");
    let named = desk.api.enabled_account("ES", &json!({ "hostId": "99" }));
    desk.take_events().await;
    let made = account(&desk.onboard("99").await.unwrap());
    assert_ne!(made, named);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_says_whose_an_account_is() {
    let (desk, broker) = (Desk::new().await, TestBroker::new("adopt"));
    let operator = Operator::new(desk.lab.worker_url(), &broker);
    for (account, host) in [("acct_a", "42"), ("acct_b", "42"), ("acct_c", "43")] {
        tell(&desk, account, host).await;
    }
    let adopt = async |arguments: &str| operator.run(&format!("hosts adopt {arguments}")).await;
    // Nobody is there to ask, and a dry run changes nothing.
    let asked = adopt("--host 42 --account acct_a").await;
    assert!(failed(asked).contains("add --yes"));
    let dry = adopt("--host 42 --account acct_a --dry-run").await.well();
    assert_eq!(
        dry.out.trim(),
        "acct_a would be noted as the account of host 42."
    );
    assert!(desk.records().await.is_empty());
    adopt("--host 42 --account acct_a --yes").await.well();
    assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
    let status = json!({ "hostId": "42" });
    let status = desk.run(Name::HostStatus, status).await.unwrap();
    assert_eq!(status["stripeAccountId"], "acct_a");

    for (arguments, why) in [
        ("--host 42 --account acct_b --yes", "has the account acct_a"),
        ("--host 43 --account acct_a --yes", "does not name the host"),
        (
            "--host 9 --account acct_unknown --yes",
            "no connected account",
        ),
        ("--host 43", "--account"),
        ("--host 43 --account acct_c --all", "cannot be used"),
    ] {
        let said = failed(adopt(arguments).await);
        assert!(said.contains(why), "{arguments}: {said}");
    }

    // Its holder writes another host's id: it stays the one that it is noted for.
    tell_again(&desk, "acct_a", "44").await;
    let stolen = failed(adopt("--host 44 --account acct_a --yes").await);
    assert!(stolen.contains("host.onboard:42"), "{stolen}");
    assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
}

/// What a command said that did not go well.
fn failed(done: Done) -> String {
    assert_ne!(done.code, 0, "{}", done.out);
    done.err
}

/// The account tells a later event.
async fn tell_again(desk: &Desk, account: &str, host: &str) {
    let object = Account::fresh(account, host);
    let event = Event::new(&format!("evt_{account}_later"), "account.updated", object);
    let later = harness::stripe::SAMPLE_TIME + 60;
    desk.lab
        .take_one(&event.of_account(account).at(later))
        .await;
}

/// After an upgrade: every host that one connected account names gets it, and a host that
/// several name is left to the operator.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_from_before_there_were_commands_are_adopted_at_once() {
    let (desk, broker) = (Desk::new().await, TestBroker::new("adopt-all"));
    let operator = Operator::new(desk.lab.worker_url(), &broker);
    let made = desk.onboard("made").await.unwrap();
    desk.take_events().await;
    // The holder of an account that a command made names another host.
    let made = made["stripeAccountId"].as_str().unwrap();
    desk.api.change_account(made, |account| {
        account["metadata"]["hostId"] = "forged".into();
    });
    desk.take_events().await;
    for (account, host) in [
        ("acct_1", "1"),
        ("acct_2", "2"),
        ("acct_2b", "2"),
        ("acct_3", "3"),
        ("acct_4", "4"),
    ] {
        tell(&desk, account, host).await;
    }
    let cut = Event::new("evt_cut", "account.application.deauthorized", json!({}));
    let later = harness::stripe::SAMPLE_TIME + 60;
    desk.lab.take_one(&cut.of_account("acct_4").at(later)).await;
    let lines = async |arguments: &str| -> Vec<String> {
        let said = operator
            .run(&format!("hosts adopt --all {arguments}"))
            .await;
        said.well().out.lines().map(str::to_owned).collect()
    };
    let would = |id: &str| format!("acct_{id} would be noted as the account of host {id}.");
    assert_eq!(lines("--dry-run").await, [would("1"), would("3")]);
    assert_eq!(desk.records().await, ["host.onboard:made 1 done t"]);
    let adopted = lines("--yes --json").await;
    assert_eq!(
        adopted[0],
        r#"{"account":"acct_1","adopted":true,"host_id":"1"}"#
    );
    let records = [
        "host.onboard:1 1 done t",
        "host.onboard:3 1 done t",
        "host.onboard:made 1 done t",
    ];
    assert_eq!(desk.records().await, records);
    assert!(lines("--yes").await.is_empty());
    let error = desk.onboard("2").await.unwrap_err();
    assert_eq!(error.code, "host_account_unconfirmed");
}
