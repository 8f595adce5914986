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

/// An operator with the worker's variables.
fn operator(desk: &Desk, broker: &TestBroker) -> Operator {
    Operator::new(desk.lab.worker_url(), broker)
        .with("STRIPE_MODE", "test")
        .with("STRIPE_API_BASE", desk.api.base_url())
}

/// An account that the app made before there were commands. No event of it comes any more.
fn quiet(desk: &Desk, host: &str) -> String {
    let account = desk.api.enabled_account("ES", &json!({ "hostId": host }));
    drop(desk.api.take_events());
    account
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_says_whose_an_account_is() {
    let (desk, broker) = (Desk::new().await, TestBroker::new("adopt"));
    let [a, b, c] = ["42", "42", "43"].map(|host| quiet(&desk, host));
    let without_key = operator(&desk, &broker);
    let line = format!("hosts adopt --host 42 --account {a}");
    let asked = without_key.run(&format!("{line} --yes")).await;
    assert_eq!(asked.code, 64);
    assert!(asked.err.contains("STRIPE_API_KEY"), "{}", asked.err);
    let operator = operator(&desk, &broker).with("STRIPE_API_KEY", "sk_test_standin");
    let adopt = async |arguments: &str| operator.run(&format!("hosts adopt {arguments}")).await;
    // Nobody is there to ask, and a dry run changes nothing.
    let asked = operator.run(&line).await;
    assert!(failed(asked).contains("add --yes"));
    let dry = operator.run(&format!("{line} --dry-run")).await.well();
    assert_eq!(
        dry.out.trim(),
        format!("{a} would be noted as the account of host 42.")
    );
    assert!(desk.records().await.is_empty());
    assert!(desk.hosts().await.is_empty());
    operator.run(&format!("{line} --yes")).await.well();
    assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
    assert_eq!(desk.hosts().await, ["42 ENABLED t"]);
    let status = json!({ "hostId": "42" });
    let status = desk.run(Name::HostStatus, status).await.unwrap();
    assert_eq!(status["stripeAccountId"], *a);
    // No second account is made for the host.
    assert_eq!(account(&desk.onboard("42").await.unwrap()), a);
    assert_eq!(desk.api.accounts().len(), 3);

    let left = quiet(&desk, "9");
    desk.api.deauthorize(&left);
    for (arguments, why) in [
        (
            format!("--host 42 --account {b} --yes"),
            &*format!("has the account {a}"),
        ),
        (
            format!("--host 43 --account {a} --yes"),
            "does not name the host",
        ),
        (
            "--host 9 --account acct_unknown --yes".to_owned(),
            "no connected account",
        ),
        (
            format!("--host 9 --account {left} --yes"),
            "no connected account",
        ),
        ("--host 43".to_owned(), "--account"),
        (format!("--host 43 --account {c} --all"), "cannot be used"),
    ] {
        let said = failed(adopt(&arguments).await);
        assert!(said.contains(why), "{arguments}: {said}");
    }

    // Its holder writes another host's id: it stays the one that it is noted for.
    desk.api.change_account(&a, |account| {
        account["metadata"]["hostId"] = "44".into();
    });
    let stolen = format!("--host 44 --account {a} --yes");
    let stolen = failed(adopt(&stolen).await);
    assert!(stolen.contains("host.onboard:42"), "{stolen}");
    assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
}

/// What a command said that did not go well.
fn failed(done: Done) -> String {
    assert_ne!(done.code, 0, "{}", done.out);
    done.err
}

/// After an upgrade: every host that one connected account names gets it, whether events of it
/// came or not. A host that several name, or one whose holder can have written that, is left to
/// the operator.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_from_before_there_were_commands_are_adopted_at_once() {
    let (desk, broker) = (Desk::new().await, TestBroker::new("adopt-all"));
    let operator = operator(&desk, &broker).with("STRIPE_API_KEY", "sk_test_standin");
    let made = desk.onboard("made").await.unwrap();
    desk.take_events().await;
    // The holder of an account that a command made names another host.
    let made = made["stripeAccountId"].as_str().unwrap();
    desk.api.change_account(made, |account| {
        account["metadata"]["hostId"] = "forged".into();
    });
    let [first, known, third] =
        ["1", "2", "3"].map(|host| desk.api.enabled_account("ES", &json!({ "hostId": host })));
    let gone = desk.api.enabled_account("ES", &json!({ "hostId": "4" }));
    desk.take_events().await;
    // Of the host's own account no event came, and of the one that a stranger has named after
    // the host events came.
    let own = quiet(&desk, "2");
    let standard = quiet(&desk, "5");
    desk.api.change_account(&standard, |account| {
        account["type"] = "standard".into();
    });
    desk.api.deauthorize(&gone);
    // More than a page of Stripe's list.
    for _ in 0..100 {
        let _ = desk.api.enabled_account("ES", &json!({}));
    }
    drop(desk.api.take_events());
    desk.api.forget_requests();
    let run = async |arguments: &str| {
        let line = format!("hosts adopt --all {arguments}");
        operator.run(&line).await.well()
    };
    let lines = |done: &Done| -> Vec<String> { done.out.lines().map(str::to_owned).collect() };
    let would =
        |id: &str, host: &str| format!("{id} would be noted as the account of host {host}.");
    let rows = desk.hosts().await;
    let dry = run("--dry-run").await;
    assert_eq!(lines(&dry), [would(&first, "1"), would(&third, "3")]);
    for said in [
        format!("Host 2 is named by {own}, {known}"),
        format!("Host 5 is named by {standard}, whose holder can have written that"),
        "106 accounts were read by 3 reads".to_owned(),
    ] {
        assert!(dry.err.contains(&said), "{said}: {}", dry.err);
    }
    assert_eq!(desk.records().await, ["host.onboard:made 1 done t"]);
    assert_eq!(desk.hosts().await, rows);
    let adopted = run("--yes --json").await;
    assert_eq!(
        lines(&adopted)[0],
        format!(r#"{{"account":"{first}","adopted":true,"host_id":"1"}}"#)
    );
    let records = [
        "host.onboard:1 1 done t",
        "host.onboard:3 1 done t",
        "host.onboard:made 1 done t",
    ];
    assert_eq!(desk.records().await, records);
    // What Stripe said of all of them is kept: both that name the host are known now.
    assert_eq!(desk.hosts().await.len(), rows.len() + 102);
    assert!(lines(&run("--yes").await).is_empty());
    let error = desk.onboard("2").await.unwrap_err();
    assert_eq!(error.code, "host_account_unconfirmed");
    let naming = error.about.unwrap()["accounts"].clone();
    let naming: Vec<String> = serde_json::from_value(naming).unwrap();
    assert!(
        naming.contains(&own) && naming.contains(&known),
        "{naming:?}"
    );
    // Its reads are counted as those of the worker are: three runs of a list of two pages, and of
    // one account that is not in it.
    let reads = desk.requests("/v1/accounts").len();
    assert_eq!(reads, 9);
    let counted = "SELECT reads::text FROM stripe.api_read";
    assert_eq!(desk.lab.rows(counted).await, [(reads + 1).to_string()]);
}

/// Where Stripe's allowance for reads is nearly used up nothing is read, and nothing adopted.
#[tokio::test(flavor = "multi_thread")]
async fn all_accounts_are_read_within_the_allowance_alone() {
    let (desk, broker) = (Desk::new().await, TestBroker::new("adopt-allowance"));
    let operator = operator(&desk, &broker).with("STRIPE_API_KEY", "sk_test_standin");
    let _ = quiet(&desk, "1");
    let used = "INSERT INTO stripe.api_read (day, reads) VALUES (now(), 9000)";
    desk.lab.client.batch_execute(used).await.unwrap();
    let said = failed(operator.run("hosts adopt --all --yes").await);
    assert!(said.contains("nearly used up (9000 of 10000)"), "{said}");
    assert!(desk.api.requests().is_empty());
    assert!(desk.records().await.is_empty());
}
