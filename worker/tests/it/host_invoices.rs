//! `host.invoices` lists what a host sold on all of its accounts, and nothing of anybody else's.

use harness::stripe::{Event, Invoice};
use serde_json::{Value, json};
use worker::commands::command::Name;

use crate::support::shop::{Shop, host};

/// So many invoices on the account, one of each second that is a multiple of `every`.
async fn invoices(shop: &Shop, account: &str, count: i64, every: i64) {
    let events = (0..count).map(|number| {
        let mut invoice = Invoice {
            id: format!("in_{account}_{number:03}"),
            status: "paid".into(),
            booking: None,
            ..Invoice::default()
        }
        .value();
        invoice["created"] = (1_760_000_000 + number * every).into();
        let id = format!("evt_{account}_{number}");
        Event::new(&id, "invoice.paid", invoice).of_account(account)
    });
    shop.desk.lab.take(&events.collect::<Vec<_>>()).await;
}

async fn page(shop: &Shop, host: &str, after: &Value) -> Value {
    let data = json!({ "hostId": host, "after": after });
    shop.desk.run(Name::HostInvoices, data).await.unwrap()
}

/// The ids of all pages, and how many pages there were.
async fn all(shop: &Shop, host: &str) -> (Vec<String>, usize) {
    let (mut ids, mut pages, mut after) = (Vec::new(), 0, Value::Null);
    loop {
        let mut page = page(shop, host, &after).await;
        let invoices = page["invoices"].as_array().unwrap().iter();
        ids.extend(invoices.map(|one| one["stripeInvoiceId"].as_str().unwrap().to_owned()));
        pages += 1;
        after = page["next"].take();
        if after.is_null() {
            return (ids, pages);
        }
    }
}

fn expected(shop: &[(&str, i64, i64)]) -> Vec<String> {
    let made = shop.iter().flat_map(|(account, count, every)| {
        (0..*count).map(move |number| (number * every, format!("in_{account}_{number:03}")))
    });
    let mut made: Vec<(i64, String)> = made.collect();
    made.sort_unstable();
    made.into_iter().rev().map(|(_, id)| id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_has_left_has_its_invoices() {
    let shop = Shop::new().await;
    invoices(&shop, &shop.account, 3, 1).await;
    shop.desk.api.deauthorize(&shop.account);
    shop.desk.take_events().await;
    let said = page(&shop, "42", &Value::Null).await;
    assert_eq!(said["stripeAccountId"], *shop.account);
    let (ids, _) = all(&shop, "42").await;
    assert_eq!(ids, expected(&[(&shop.account, 3, 1)]));
    // Other commands need a connected account as before.
    let dashboard = shop
        .desk
        .run(Name::HostDashboard, json!({ "hostId": "42" }));
    assert_eq!(dashboard.await.unwrap_err().code, "host_unknown");
}

/// The pages go across the accounts, by when the invoices were made.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_came_back_has_the_invoices_of_both_accounts() {
    let shop = Shop::new().await;
    invoices(&shop, &shop.account, 80, 3).await;
    shop.desk.api.deauthorize(&shop.account);
    shop.desk.take_events().await;
    let second = host(&shop.desk, "42").await;
    assert_ne!(second, shop.account);
    invoices(&shop, &second, 60, 2).await;
    let stranger = host(&shop.desk, "43").await;
    invoices(&shop, &stranger, 20, 5).await;
    let said = page(&shop, "42", &Value::Null).await;
    assert_eq!(said["stripeAccountId"], *second);
    let its = expected(&[(&shop.account, 80, 3), (&second, 60, 2)]);
    assert_eq!(all(&shop, "42").await, (its, 3));
    let (strangers, _) = all(&shop, "43").await;
    assert_eq!(strangers, expected(&[(&stranger, 20, 5)]));
    let after = json!({ "hostId": "42", "after": strangers[0] });
    let error = shop.desk.run(Name::HostInvoices, after).await.unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        ("invalid_command", Some("after"))
    );
}

/// The holder of a Standard account writes whose it is, and an account that is another host's
/// stays so whatever it names.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_only_says_that_it_is_the_hosts_adds_nothing() {
    let shop = Shop::new().await;
    invoices(&shop, &shop.account, 2, 1).await;
    let names = json!({ "hostId": "42" });
    let standard = shop.desk.api.enabled_account("ES", &names);
    shop.desk
        .api
        .change_account(&standard, |account| account["type"] = "standard".into());
    let others = host(&shop.desk, "43").await;
    shop.desk.api.change_account(&others, |account| {
        account["metadata"]["hostId"] = "42".into();
    });
    shop.desk.take_events().await;
    invoices(&shop, &standard, 2, 1).await;
    invoices(&shop, &others, 2, 1).await;
    let (ids, _) = all(&shop, "42").await;
    assert_eq!(ids, expected(&[(&shop.account, 2, 1)]));
    let nobody = shop.desk.run(Name::HostInvoices, json!({ "hostId": "44" }));
    assert_eq!(nobody.await.unwrap_err().code, "host_unknown");
}
