//! An operator notes accounts as their hosts' that no command made.

use harness::{
    stripe::{Account, Event},
    test_servers::TestBroker,
};
use serde_json::json;
use worker::commands::command::Name;

use crate::support::{
    desk::Desk,
    operator::{Done, Operator},
};

/// Tells the worker of an account that names a host.
async fn tell(desk: &Desk, account: &str, host: &str) {
    let object = Account::fresh(account, host);
    let event = Event::new(&format!("evt_{account}"), "account.updated", object);
    desk.lab.take_one(&event.of_account(account)).await;
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
