//! A host that sells, and the sessions by which guests pay.

use harness::{
    http,
    stripe_api::{Options, StandIn},
};
use hyper::Method;
use serde_json::{Value, json};
use worker::{
    commands::{command::Name, error::CommandError},
    config::commands::CommandSettings,
};

use super::desk::Desk;

/// A desk with a host that can sell.
pub struct Shop {
    pub desk: Desk,
    pub account: String,
}

impl Shop {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(set: impl FnOnce(&mut CommandSettings)) -> Self {
        Self::of(Desk::with(Options::default(), set).await).await
    }

    pub async fn of(desk: Desk) -> Self {
        let account = host(&desk, "42").await;
        desk.api.forget_requests();
        Self { desk, account }
    }

    pub async fn checkout(&self, booking: i32) -> Result<Value, CommandError> {
        self.ask(checkout(booking)).await
    }

    pub async fn ask(&self, data: Value) -> Result<Value, CommandError> {
        self.desk.run(Name::BookingCheckout, data).await
    }

    pub async fn cancel(&self, booking: i32) -> Result<Value, CommandError> {
        let data = json!({ "bookingId": booking });
        self.desk.run(Name::BookingCancel, data).await
    }

    /// How things are with the booking's invoice, in words.
    pub async fn words(&self, booking: i32) -> String {
        let words = self.invoice(booking).await["words"].take();
        let words = words.as_array().unwrap().iter();
        words
            .map(|one| one.as_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The dead letters, shortly.
    pub async fn dead_letters(&self) -> Vec<String> {
        let dead = "SELECT concat_ws(' ', id, reason) FROM stripe.dead_letter ORDER BY 1";
        self.desk.lab.rows(dead).await
    }

    pub async fn invoice(&self, booking: i32) -> Value {
        let data = json!({ "bookingId": booking });
        self.desk.run(Name::BookingInvoice, data).await.unwrap()
    }

    /// The sessions by which a guest can pay for a booking.
    pub fn open(&self, booking: i32) -> Vec<String> {
        let sessions = self.sessions("open").into_iter();
        let booking = booking.to_string();
        let its = sessions.filter(|one| one["metadata"]["dialoomBookingId"] == *booking);
        its.map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    }

    pub fn sessions(&self, status: &str) -> Vec<Value> {
        let accounts = self.desk.api.accounts();
        let accounts = accounts
            .iter()
            .map(|account| account["id"].as_str().unwrap().to_owned());
        let sessions = accounts.flat_map(|id| self.desk.api.objects(&id, "checkout.session"));
        sessions.filter(|one| one["status"] == status).collect()
    }

    /// The rows of `"Invoice"`, shortly.
    pub async fn rows(&self) -> Vec<String> {
        let query = r#"SELECT concat_ws(' ', "bookingId", "status", trim_scale("amount"), "currency")
            FROM "Invoice" ORDER BY 1"#;
        self.desk.lab.rows(query).await
    }
}

/// A host that can sell.
pub async fn host(desk: &Desk, host: &str) -> String {
    let answer = desk.onboard(host).await.unwrap();
    let account = answer["stripeAccountId"].as_str().unwrap().to_owned();
    desk.api.finish_onboarding(&account);
    desk.take_events().await;
    account
}

pub fn checkout(booking: i32) -> Value {
    json!({
        "bookingId": booking, "hostId": "42", "amount": "45.99", "currency": "eur",
        "description": "A call of an hour",
        "successUrl": "https://app.example.com/paid", "cancelUrl": "https://app.example.com/back",
    })
}

pub fn session(answer: &Value) -> String {
    answer["sessionId"].as_str().unwrap().to_owned()
}

/// The app itself makes a session of a booking; gives its id.
pub async fn app_session(api: &StandIn, account: &str, booking: i32) -> String {
    let sale = format!(
        "mode=payment&success_url=https%3A%2F%2Fa.example%2Fpaid&line_items[0][quantity]=1\
         &line_items[0][price_data][currency]=eur&line_items[0][price_data][unit_amount]=4500\
         &line_items[0][price_data][product_data][name]=Call&invoice_creation[enabled]=true\
         &metadata[dialoomBookingId]={booking}"
    );
    let session = post(api, account, "v1/checkout/sessions", sale).await;
    let id = session["id"].as_str();
    id.unwrap_or_else(|| panic!("{session}")).to_owned()
}

/// The host writes which booking its session is of.
pub async fn rename(api: &StandIn, account: &str, session: &str, booking: &str) {
    let path = format!("v1/checkout/sessions/{session}");
    let metadata = format!("metadata[dialoomBookingId]={booking}");
    let renamed = post(api, account, &path, metadata).await;
    assert_eq!(renamed["metadata"]["dialoomBookingId"], booking);
}

async fn post(api: &StandIn, account: &str, path: &str, form: String) -> Value {
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("stripe-version", "2026-10-28.endive"),
        ("authorization", "Bearer sk_test_standin"),
        ("stripe-account", account),
    ];
    let url = format!("{}{path}", api.base_url());
    let answer = http::send(Method::POST, &url, &headers, form)
        .await
        .unwrap();
    serde_json::from_slice(&answer.body).unwrap()
}
