//! Sessions, payments, invoices, refunds and credit notes.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::{json_of, refusal, send, start};
use crate::{
    stripe::{ApiVersion, now},
    stripe_api::{Options, Payment, QueuedEvent, StandIn},
};

const SALE: &str = "mode=payment&success_url=https%3A%2F%2Fa.example%2Fpaid\
    &line_items[0][quantity]=1&line_items[0][price_data][currency]=eur\
    &line_items[0][price_data][unit_amount]=4500\
    &line_items[0][price_data][product_data][name]=Video%20call\
    &payment_intent_data[application_fee_amount]=450\
    &payment_intent_data[metadata][dialoomBookingId]=7&metadata[dialoomBookingId]=7\
    &invoice_creation[enabled]=true\
    &invoice_creation[invoice_data][metadata][dialoomBookingId]=7";

async fn ask(api: &StandIn, account: &str, method: Method, path: &str, body: &str) -> (u16, Value) {
    let of = [("stripe-account", account)];
    let answer = send(api, method, path, &of, body).await.unwrap();
    (answer.status.as_u16(), json_of(&answer))
}

async fn sell(api: &StandIn, account: &str) -> String {
    let (status, session) = ask(api, account, Method::POST, "/v1/checkout/sessions", SALE).await;
    assert_eq!(status, 200, "{session}");
    session["id"].as_str().unwrap().to_owned()
}

fn host(api: &StandIn) -> String {
    let account = api.enabled_account("ES", &json!({ "hostId": "host-1" }));
    let _ = api.take_events();
    account
}

fn kinds(events: &[QueuedEvent]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

#[tokio::test]
async fn a_card_pays_at_once_and_the_host_issues_an_invoice() {
    let api = start().await;
    let account = host(&api);
    let session = sell(&api, &account).await;
    let paid = api.pay(&session, Payment::Card).unwrap();
    assert_eq!(
        (&paid["status"], &paid["payment_status"]),
        (&json!("complete"), &json!("paid"))
    );
    let events = api.take_events();
    assert_eq!(
        kinds(&events),
        [
            "customer.created",
            "payment_intent.created",
            "application_fee.created",
            "charge.succeeded",
            "payment_intent.succeeded",
            "invoice.created",
            "invoice.finalized",
            "invoice.updated",
            "invoice.paid",
            "invoice.payment_succeeded",
            "invoice_payment.paid",
            "checkout.session.completed",
        ]
    );
    let of_platform: Vec<&str> = events
        .iter()
        .filter(|one| one.account.is_none())
        .map(|one| &*one.kind)
        .collect();
    assert_eq!(of_platform, ["application_fee.created"]);
    let path = format!(
        "/v1/checkout/sessions/{session}?expand[]=invoice.payments&expand[]=payment_intent.latest_charge"
    );
    let (_, session) = ask(&api, &account, Method::GET, &path, "").await;
    let (invoice, intent) = (&session["invoice"], &session["payment_intent"]);
    assert_eq!(invoice["status"], "paid");
    assert_eq!(invoice["metadata"], json!({ "dialoomBookingId": "7" }));
    assert!(invoice["invoice_pdf"].is_string() && invoice["number"].is_string());
    assert_eq!(
        invoice["payments"]["data"][0]["payment"]["payment_intent"],
        intent["id"]
    );
    assert_eq!(intent["latest_charge"]["application_fee_amount"], 450);
    assert_eq!(intent["metadata"], json!({ "dialoomBookingId": "7" }));
    let (_, list) = ask(&api, &account, Method::GET, "/v1/invoices?status=paid", "").await;
    assert_eq!(list["data"][0]["id"], invoice["id"]);
    assert_eq!(
        list["data"][0].get("payments"),
        None,
        "it was not asked for"
    );
    let (_, other) = ask(&api, &host(&api), Method::GET, "/v1/invoices", "").await;
    assert_eq!(other["data"], json!([]), "another host has none");
}

#[tokio::test]
async fn a_delayed_payment_ends_either_way() {
    let api = start().await;
    let account = host(&api);
    for succeeded in [false, true] {
        let session = sell(&api, &account).await;
        let paid = api.pay(&session, Payment::Delayed).unwrap();
        assert_eq!(
            (&paid["status"], &paid["payment_status"]),
            (&json!("complete"), &json!("unpaid"))
        );
        assert_eq!(paid["invoice"], Value::Null);
        assert!(kinds(&api.take_events()).contains(&"checkout.session.completed"));
        let settled = api.settle(&session, succeeded).unwrap();
        assert_eq!(settled["invoice"].is_string(), succeeded);
        let events = api.take_events();
        let last = events.last().unwrap().kind.clone();
        if succeeded {
            assert_eq!(last, "checkout.session.async_payment_succeeded");
            assert_eq!(settled["payment_status"], "paid");
        } else {
            assert_eq!(last, "checkout.session.async_payment_failed");
            assert_eq!(settled["payment_status"], "unpaid");
        }
        assert!(api.settle(&session, true).is_err(), "it has ended");
    }
}

#[tokio::test]
async fn a_session_is_paid_or_expires() {
    let api = start().await;
    let account = host(&api);
    let (first, second, third) = (
        sell(&api, &account).await,
        sell(&api, &account).await,
        sell(&api, &account).await,
    );
    let expire = async |session: &str| {
        let path = format!("/v1/checkout/sessions/{session}/expire");
        ask(&api, &account, Method::POST, &path, "").await.0
    };
    assert_eq!(expire(&first).await, 200);
    assert!(api.pay(&first, Payment::Card).is_err());
    api.pay(&second, Payment::Card).unwrap();
    assert_eq!(expire(&second).await, 400);
    assert!(api.pay(&second, Payment::Card).is_err());
    let _ = api.take_events();
    api.advance(Duration::from_secs(25 * 3600));
    assert_eq!(kinds(&api.take_events()), ["checkout.session.expired"]);
    assert_eq!(api.session(&third).unwrap()["status"], "expired");
    let path = "/v1/checkout/sessions?status=expired";
    let (_, list) = ask(&api, &account, Method::GET, path, "").await;
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn sales_that_stripe_refuses_are_refused() {
    let api = start().await;
    let account = host(&api);
    let soon = format!("{SALE}&expires_at={}", now() + 60);
    let fee = "payment_intent_data[application_fee_amount]";
    for (sale, code, param) in [
        (
            SALE.replace("mode=payment&", ""),
            "parameter_missing",
            "mode",
        ),
        (
            SALE.replace("success_url", "cancel_url"),
            "parameter_missing",
            "success_url",
        ),
        (SALE.replace("4500", "49"), "amount_too_small", "line_items"),
        (SALE.replace("amount]=450&", "amount]=4501&"), "", fee),
        (format!("{SALE}&color=red"), "parameter_unknown", "color"),
        (
            format!("{SALE}&automatic_tax[enabled]=true"),
            "",
            "automatic_tax[enabled]",
        ),
        (soon, "", "expires_at"),
    ] {
        let answer = ask(&api, &account, Method::POST, "/v1/checkout/sessions", &sale).await;
        assert_eq!(refusal(&answer), (400, code, param));
    }
    api.overdue(&account, &["external_account"]);
    let answer = ask(&api, &account, Method::POST, "/v1/checkout/sessions", SALE).await;
    assert_eq!(answer.0, 400);
}

#[tokio::test]
async fn tax_is_silently_zero_without_a_registration() {
    let api = start().await;
    let account = host(&api);
    api.set_head_office(&account, Some("ES"));
    for (tax, total) in [(0, 4500), (945, 5445)] {
        let sale = format!("{SALE}&automatic_tax[enabled]=true");
        let (_, session) = ask(&api, &account, Method::POST, "/v1/checkout/sessions", &sale).await;
        let paid = api
            .pay(session["id"].as_str().unwrap(), Payment::Card)
            .unwrap();
        assert_eq!(paid["total_details"]["amount_tax"], tax);
        assert_eq!(paid["amount_total"], total);
        assert_eq!(api.objects(&account, "invoice")[0]["total"], total);
        let _ = api.register_for_tax(&account, "ES", "active");
    }
}

#[tokio::test]
async fn an_invoice_that_cannot_be_finalized_says_why() {
    let api = start().await;
    let account = host(&api);
    api.finalization_fails(&account, Some("customer_tax_location_invalid"));
    let session = sell(&api, &account).await;
    let paid = api.pay(&session, Payment::Card).unwrap();
    let events = api.take_events();
    let failed = events
        .iter()
        .find(|one| one.kind == "invoice.finalization_failed")
        .unwrap();
    let invoice = &failed.value()["data"]["object"];
    assert_eq!(
        invoice["last_finalization_error"]["code"],
        "customer_tax_location_invalid"
    );
    assert_eq!(
        (&invoice["status"], &invoice["id"]),
        (&json!("draft"), &paid["invoice"])
    );
    api.finalization_fails(&account, None);
    let invoice = api.finalize(paid["invoice"].as_str().unwrap()).unwrap();
    assert_eq!(invoice["status"], "paid");
}

#[tokio::test]
async fn refunds_and_credit_notes_count_up() {
    let api = start().await;
    let account = host(&api);
    let session = sell(&api, &account).await;
    let paid = api.pay(&session, Payment::Card).unwrap();
    let _ = api.take_events();
    api.refund(&session, Some(1000)).unwrap();
    let events = api.take_events();
    assert_eq!(kinds(&events), ["refund.created", "charge.refunded"]);
    let charge = &events[1].value()["data"];
    assert_eq!(charge["object"]["amount_refunded"], 1000);
    assert_eq!(
        charge["previous_attributes"],
        json!({ "amount_refunded": 0 })
    );
    let body = format!(
        "payment_intent={}",
        paid["payment_intent"].as_str().unwrap()
    );
    let (_, refund) = ask(&api, &account, Method::POST, "/v1/refunds", &body).await;
    assert_eq!(refund["amount"], 3500, "what was left");
    let answer = ask(&api, &account, Method::POST, "/v1/refunds", &body).await;
    assert_eq!(refusal(&answer), (400, "charge_already_refunded", ""));

    let invoice = paid["invoice"].as_str().unwrap();
    let path = "/v1/credit_notes";
    let body = format!("invoice={invoice}&amount=1000");
    assert_eq!(
        ask(&api, &account, Method::POST, path, &body).await.0,
        400,
        "it goes nowhere"
    );
    let body = format!("{body}&out_of_band_amount=1000");
    let (status, note) = ask(&api, &account, Method::POST, path, &body).await;
    assert_eq!((status, note["type"].as_str()), (200, Some("post_payment")));
    let credited =
        || api.objects(&account, "invoice")[0]["post_payment_credit_notes_amount"].clone();
    assert_eq!(credited(), 1000);
    assert!(api.credit(invoice, 3501).is_err());
    let id = note["id"].as_str().unwrap();
    api.void_credit_note(id).unwrap();
    assert_eq!(credited(), 0);
    let events = api.take_events();
    assert!(kinds(&events).contains(&"credit_note.created"));
    assert_eq!(events.last().unwrap().kind, "credit_note.voided");
}

#[tokio::test]
async fn objects_come_in_the_version_that_is_asked_for() {
    for version in ApiVersion::ALL {
        let options = Options {
            webhook_version: version,
            ..Options::default()
        };
        let api = StandIn::start(options).await.unwrap();
        let account = host(&api);
        let session = sell(&api, &account).await;
        api.pay(&session, Payment::Card).unwrap();
        let events = api.take_events();
        let event = events
            .iter()
            .find(|event| event.kind == "invoice.paid")
            .unwrap();
        let old = version < ApiVersion::V2025_03_31Basil;
        let headers = [
            ("stripe-account", account.as_str()),
            ("stripe-version", version.name()),
        ];
        let answer = send(&api, Method::GET, "/v1/invoices", &headers, "")
            .await
            .unwrap();
        assert_eq!(event.value()["api_version"], version.name());
        for invoice in [
            &event.value()["data"]["object"],
            &json_of(&answer)["data"][0],
        ] {
            assert_eq!(
                invoice["payment_intent"].is_string(),
                old,
                "{}",
                version.name()
            );
            assert_eq!(invoice["charge"].is_string(), old);
            assert_eq!(invoice.get("parent").is_some(), !old);
        }
    }
}

#[tokio::test]
async fn events_are_listed_for_their_account() {
    let api = start().await;
    let account = host(&api);
    let session = sell(&api, &account).await;
    api.pay(&session, Payment::Card).unwrap();
    let list = async |query: &str| {
        let path = format!("/v1/events?{query}");
        ask(&api, &account, Method::GET, &path, "").await.1["data"]
            .as_array()
            .unwrap()
            .clone()
    };
    assert_eq!(list("type=checkout.session.*").await.len(), 1);
    assert_eq!(
        list("types[]=invoice.paid&types[]=invoice.created")
            .await
            .len(),
        2
    );
    assert_eq!(list(&format!("created[gte]={}", now() + 60)).await.len(), 0);
    let (_, of_platform) = ask(&api, "", Method::GET, "/v1/events", "").await;
    assert_eq!(
        of_platform["data"].as_array().unwrap().len(),
        1,
        "the fee's"
    );
}
