//! What the stand-in for Stripe answers, checked against the type definitions of
//! Stripe's own package from npm.

use std::fs;

use harness::{
    checkout, http,
    stripe_api::{Options, Payment, StandIn},
};
use hyper::Method;
use serde_json::{Value, json};

use crate::stripe_npm::{install, run};

/// Objects with the names of their types.
#[derive(Default)]
struct Objects(Vec<Value>);

impl Objects {
    fn add(&mut self, kind: &str, object: &Value) {
        let name = format!("object{}", self.0.len());
        assert!(object.get("error").is_none(), "{kind}: {object}");
        self.0
            .push(json!({ "type": kind, "name": name, "object": object }));
    }
}

#[tokio::test]
async fn the_stand_in_answers_as_stripes_types_say() {
    let packages = install();
    let folder = packages.folder();
    let api = StandIn::start(Options::default()).await.unwrap();
    let mut objects = Objects::default();
    let account = accounts(&api, &mut objects).await;
    tax(&api, &account, &mut objects).await;
    sales(&api, &account, &mut objects).await;
    events(&api, &mut objects).await;
    let file = folder.join("objects.json");
    fs::write(&file, Value::from(objects.0).to_string()).unwrap();
    let (checked, text) = run(&packages, "check.mjs", &["objects.json"]);
    assert!(
        checked,
        "objects that the types do not allow ({}):\n{text}",
        folder.join("objects.ts").display()
    );
}

#[test]
fn the_stand_in_takes_the_parameters_of_stripes_types() {
    let packages = install();
    let folder = packages.folder();
    let (made, text) = run(&packages, "parameters.mjs", &["parameters.json"]);
    assert!(made, "{text}");
    let made = fs::read_to_string(folder.join("parameters.json")).unwrap();
    let root = checkout::root().unwrap();
    let kept = fs::read_to_string(root.join("tests/src/stripe_api/parameters.json")).unwrap();
    assert!(
        made == kept,
        "tests/src/stripe_api/parameters.json is old: run `npm ci && npm run parameters` in tests/types"
    );
}

async fn ask(api: &StandIn, method: Method, path: &str, account: &str, body: &str) -> Value {
    let url = format!("{}{}", api.base_url(), path.trim_start_matches('/'));
    let kind = if path.starts_with("/v2") {
        "application/json"
    } else {
        "application/x-www-form-urlencoded"
    };
    let mut headers = vec![
        ("authorization", "Bearer sk_test_standin"),
        ("content-type", kind),
        ("stripe-version", "2026-10-28.endive"),
    ];
    if !account.is_empty() {
        headers.push(("stripe-account", account));
    }
    let answer = http::send(method, &url, &headers, body.to_owned())
        .await
        .unwrap();
    serde_json::from_slice(&answer.body).unwrap()
}

async fn get(api: &StandIn, path: &str, account: &str) -> Value {
    ask(api, Method::GET, path, account, "").await
}

async fn post(api: &StandIn, path: &str, account: &str, body: &str) -> Value {
    ask(api, Method::POST, path, account, body).await
}

/// Accounts and their links; gives an account that may charge.
async fn accounts(api: &StandIn, objects: &mut Objects) -> String {
    let express = "type=express&country=ES&capabilities[card_payments][requested]=true\
        &capabilities[transfers][requested]=true&metadata[hostId]=host-1";
    let made = post(api, "/v1/accounts", "", express).await;
    objects.add("Stripe.Account", &made);
    let id = made["id"].as_str().unwrap().to_owned();
    let second = json!({
        "contact_email": "a@dialoom.example", "display_name": "Ana", "dashboard": "express",
        "identity": { "country": "ES", "entity_type": "individual" },
        "configuration": {
            "merchant": { "capabilities": { "card_payments": { "requested": true } } },
            "recipient": { "capabilities": { "stripe_balance": { "stripe_transfers": { "requested": true } } } },
        },
        "defaults": { "responsibilities": { "fees_collector": "application", "losses_collector": "application" } },
        "metadata": { "hostId": "host-2" },
    });
    let second = post(api, "/v2/core/accounts", "", &second.to_string()).await;
    objects.add("Stripe.V2.Core.Account", &second);
    let second = second["id"].as_str().unwrap().to_owned();
    let include = "include[0]=configuration.merchant&include[1]=configuration.recipient\
        &include[2]=requirements&include[3]=identity&include[4]=defaults&include[5]=future_requirements";
    let path = format!("/v2/core/accounts/{second}?{include}");
    objects.add("Stripe.V2.Core.Account", &get(api, &path, "").await);
    for account in [&id, &second] {
        api.finish_onboarding(account);
        objects.add(
            "Stripe.Account",
            &get(api, &format!("/v1/accounts/{account}"), "").await,
        );
    }
    api.require(&second, &["individual.verification.document"]);
    objects.add("Stripe.V2.Core.Account", &get(api, &path, "").await);
    objects.add("Page<Stripe.Account>", &get(api, "/v1/accounts", "").await);
    objects.add(
        "NewPage<Stripe.V2.Core.Account>",
        &get(api, "/v2/core/accounts?limit=1", "").await,
    );
    links(api, &id, objects).await;
    id
}

async fn links(api: &StandIn, id: &str, objects: &mut Objects) {
    let urls = "refresh_url=https://a.example&return_url=https://a.example";
    let body = format!("account={id}&type=account_onboarding&{urls}");
    objects.add(
        "Stripe.AccountLink",
        &post(api, "/v1/account_links", "", &body).await,
    );
    let case = json!({ "refresh_url": "https://a.example", "return_url": "https://a.example" });
    let body = json!({ "account": id, "use_case": { "type": "account_onboarding", "account_onboarding": case } });
    let link = post(api, "/v2/core/account_links", "", &body.to_string()).await;
    objects.add("Stripe.V2.Core.AccountLink", &link);
    let body = format!(
        "account={id}&components[payments][enabled]=true&components[documents][enabled]=true"
    );
    objects.add(
        "Stripe.AccountSession",
        &post(api, "/v1/account_sessions", "", &body).await,
    );
    let path = format!("/v1/accounts/{id}/login_links");
    objects.add("Stripe.LoginLink", &post(api, &path, "", "").await);
}

async fn tax(api: &StandIn, account: &str, objects: &mut Objects) {
    objects.add(
        "Stripe.Tax.Settings",
        &get(api, "/v1/tax/settings", account).await,
    );
    api.set_head_office(account, Some("ES"));
    objects.add(
        "Stripe.Tax.Settings",
        &get(api, "/v1/tax/settings", account).await,
    );
    let _ = api.register_for_tax(account, "ES", "active");
    let _ = api.register_for_tax(account, "ES", "expired");
    let registrations = get(api, "/v1/tax/registrations", account).await;
    objects.add("Page<Stripe.Tax.Registration>", &registrations);
    let _ = api.add_tax_id(account, "eu_vat", "ESX1234567X", true);
    objects.add(
        "Page<Stripe.TaxId>",
        &get(api, "/v1/tax_ids", account).await,
    );
}

async fn sales(api: &StandIn, account: &str, objects: &mut Objects) {
    let sale = "mode=payment&success_url=https://a.example&line_items[0][quantity]=1\
        &line_items[0][price_data][currency]=eur&line_items[0][price_data][unit_amount]=4500\
        &line_items[0][price_data][product_data][name]=Call&automatic_tax[enabled]=true\
        &payment_intent_data[application_fee_amount]=450&invoice_creation[enabled]=true\
        &metadata[dialoomBookingId]=7";
    for payment in [Payment::Card, Payment::Delayed] {
        let session = post(api, "/v1/checkout/sessions", account, sale).await;
        objects.add("Stripe.Checkout.Session", &session);
        let id = session["id"].as_str().unwrap();
        let paid = api.pay(id, payment).unwrap();
        if payment == Payment::Delayed {
            api.settle(id, false).unwrap();
        }
        objects.add("Stripe.Checkout.Session", &paid);
    }
    for kind in ["payment_intent", "charge", "customer"] {
        let name = match kind {
            "payment_intent" => "Stripe.PaymentIntent",
            "charge" => "Stripe.Charge",
            _ => "Stripe.Customer",
        };
        for object in api.objects(account, kind) {
            objects.add(name, &object);
        }
    }
    objects.add(
        "Stripe.ApplicationFee",
        &api.objects("", "application_fee")[0],
    );
    let path = "/v1/checkout/sessions?expand[]=data.invoice.payments&expand[]=data.payment_intent.latest_charge";
    objects.add(
        "Page<Stripe.Checkout.Session>",
        &get(api, path, account).await,
    );
    let session = api.objects(account, "checkout.session")[1]["id"].clone();
    let path = format!(
        "/v1/checkout/sessions/{}?expand[]=line_items",
        session.as_str().unwrap()
    );
    objects.add("Stripe.Checkout.Session", &get(api, &path, account).await);
    api.finalization_fails(account, Some("customer_tax_location_invalid"));
    let session = post(api, "/v1/checkout/sessions", account, sale).await;
    api.pay(session["id"].as_str().unwrap(), Payment::Card)
        .unwrap();
    let invoices = get(api, "/v1/invoices", account).await;
    objects.add("Page<Stripe.Invoice>", &invoices);
    let invoice = invoices["data"][1]["id"].as_str().unwrap();
    let body = format!("invoice={invoice}&amount=500&refund_amount=500&reason=order_change");
    let note = post(api, "/v1/credit_notes", account, &body).await;
    objects.add("Stripe.CreditNote", &note);
    let refund = note["refunds"][0]["refund"].as_str().unwrap();
    objects.add(
        "Stripe.Refund",
        &get(api, &format!("/v1/refunds/{refund}"), account).await,
    );
}

/// Events of every type that was made so far.
async fn events(api: &StandIn, objects: &mut Objects) {
    let mut seen = std::collections::BTreeSet::new();
    for event in api.take_events() {
        // The types say that nested objects are whole here. Stripe sends the fields
        // that have changed.
        let mut value = event.value();
        if let Some(Value::Object(data)) = value.get_mut("data") {
            data.remove("previous_attributes");
        }
        if !seen.insert(event.kind.clone()) {
            continue;
        }
        let base = if event.thin {
            "Stripe.V2.Core.EventNotification"
        } else {
            "Stripe.Event"
        };
        objects.add(
            &format!("Extract<{base}, {{ type: '{}' }}>", event.kind),
            &value,
        );
        if event.thin {
            let whole = get(api, &format!("/v2/core/events/{}", event.id), "").await;
            objects.add(
                &format!(
                    "Extract<Stripe.V2.Core.Event, {{ type: '{}' }}>",
                    event.kind
                ),
                &whole,
            );
        }
    }
    assert!(seen.len() > 20, "{seen:?}");
}
