//! The second part: the main app asks for it by message.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use harness::{
    caller::Caller,
    stripe_api::{Order, Payment, StandIn},
    test_servers::TestBroker,
    wait::{self, Seen},
};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::report;

const INTRODUCTION: &str = "
Now the main app asks for it by message, and a stand-in for Stripe answers. Eva becomes a
host, and a guest books her call. A payment from the guest's bank takes days and fails; then
the guest pays by card, and gets a part back. Stripe's webhooks come shuffled and twice, and
the main app hears what changed.";

/// The booking of the guest.
const BOOKING: i32 = 4;
const BOUND: Duration = Duration::from_secs(60);
const ROW: &str = r#"
    SELECT concat_ws(' ', "bookingId", "status", trim_scale("amount"), "currency") FROM "Invoice"
    WHERE "bookingId" = 4"#;
const TOLD: &str = "SELECT count(*)::text FROM stripe.outbox
    WHERE kind = 'booking.invoice.refunded' AND state = 'published'";
const HOST: &str = r#"SELECT "status"::text FROM "HostOnboarding" WHERE "hostId" = 'eva'"#;

/// Tells it; fails when it does not end as it should.
pub(super) async fn tell(
    api: &StandIn,
    broker: &TestBroker,
    client: &Client,
    ingest: &str,
    secret: &str,
) -> Result<()> {
    println!("{INTRODUCTION}\n");
    let mut app = Caller::new(broker).await?;
    let news = broker.hear("booking.invoice.*").await?;
    let onboard = json!({
        "hostId": "eva", "email": "eva@example.org", "country": "ES",
        "refreshUrl": "https://app.example.com/again", "returnUrl": "https://app.example.com/done",
    });
    let answer = ask(&mut app, "host.onboard", &onboard).await?;
    let account = text(&answer, "stripeAccountId")?;
    api.finish_onboarding(&account);
    api.deliver(ingest, secret, Order::ShuffledTwice(1)).await?;
    until(client, HOST, "ENABLED").await?;
    ask(&mut app, "host.status", &json!({ "hostId": "eva" })).await?;

    client
        .execute(r#"INSERT INTO "Booking" ("id") VALUES ($1)"#, &[&BOOKING])
        .await?;
    let session = book(&mut app).await?;
    api.pay(&session, Payment::Delayed)?;
    api.deliver(ingest, secret, Order::ShuffledTwice(2)).await?;
    refused(&mut app, "booking.checkout", &checkout(), "processing").await?;
    api.settle(&session, false)?;
    api.deliver(ingest, secret, Order::ShuffledTwice(3)).await?;
    let failed = session;
    let session = book(&mut app).await?;
    ensure!(session != failed, "the failed session is answered again");
    api.pay(&session, Payment::Card)?;
    api.deliver(ingest, secret, Order::ShuffledTwice(4)).await?;
    until(client, ROW, "4 PAID 30 eur").await?;
    refused(&mut app, "booking.checkout", &checkout(), "booking_paid").await?;

    api.refund(&session, Some(1000))?;
    api.deliver(ingest, secret, Order::ShuffledTwice(5)).await?;
    until(client, TOLD, "1").await?;
    let booking = json!({ "bookingId": BOOKING });
    let of_booking = ask(&mut app, "booking.invoice", &booking).await?;
    let of_host = ask(&mut app, "host.invoices", &json!({ "hostId": "eva" })).await?;
    ensure!(
        of_host["invoices"] == json!([of_booking["invoice"]]),
        "the host's invoices are {of_host}"
    );
    hear(broker, &news).await
}

fn checkout() -> Value {
    json!({
        "bookingId": BOOKING, "hostId": "eva", "amount": "30", "currency": "eur",
        "description": "A call of half an hour",
        "successUrl": "https://app.example.com/paid", "cancelUrl": "https://app.example.com/back",
    })
}

/// The guest books, and has one session, however often the main app asks. Gives its id.
async fn book(app: &mut Caller) -> Result<String> {
    let answer = ask(app, "booking.checkout", &checkout()).await?;
    let again = ask(app, "booking.checkout", &checkout()).await?;
    ensure!(answer == again, "the booking has two sessions");
    text(&answer, "sessionId")
}

/// Prints the news of the booking, in its order: once that it is paid, and then once that a
/// part was refunded.
async fn hear(broker: &TestBroker, queue: &str) -> Result<()> {
    println!("\nWhat the main app has heard of the booking:");
    // The same news may come twice, with the same id.
    let mut heard: BTreeMap<u64, String> = BTreeMap::new();
    for message in broker.take_all(queue).await? {
        let body: Value = serde_json::from_slice(&message.data)?;
        let news = &body["data"];
        let version = news["rowVersion"].as_u64().unwrap_or_default();
        if news["bookingId"] == BOOKING && heard.insert(version, text(news, "kind")?).is_none() {
            report::news(news);
        }
    }
    let ends = ["booking.invoice.paid", "booking.invoice.refunded"];
    let ended = heard.values().filter(|kind| ends.contains(&kind.as_str()));
    ensure!(
        ended.eq(ends),
        "it should have heard once of each of {ends:?}: {heard:?}"
    );
    Ok(())
}

/// Asks for what has to be refused with this code.
async fn refused(app: &mut Caller, command: &str, data: &Value, code: &str) -> Result<()> {
    let answer = app.ask(command, data).await?;
    ensure!(
        answer["err"]["code"] == code,
        "{command} was answered with {answer}"
    );
    report::command(command, &format!("error {code}"));
    Ok(())
}

async fn ask(app: &mut Caller, command: &str, data: &Value) -> Result<Value> {
    let answer = app.ask(command, data).await?;
    ensure!(
        answer["err"].is_null(),
        "{command} was answered with {answer}"
    );
    let response = answer["response"].clone();
    report::command(command, &shortly(&response));
    Ok(response)
}

/// What an answer says, in a line.
fn shortly(response: &Value) -> String {
    let fields = ["status", "stripeAccountId", "sessionId", "url", "invoice"];
    let said = fields.iter().filter_map(|name| match &response[*name] {
        Value::String(text) => Some(format!("{name} {text}")),
        Value::Object(object) => object["status"]
            .as_str()
            .map(|text| format!("{name} {text}")),
        _ => None,
    });
    let words = response["words"].as_array().into_iter().flatten();
    let words = words.filter_map(|word| word.as_str().map(str::to_owned));
    let invoices = response["invoices"].as_array().into_iter().flatten();
    let invoices = invoices.filter_map(|invoice| {
        let id = invoice["stripeInvoiceId"].as_str()?;
        Some(format!("{id} {}", invoice["status"].as_str()?))
    });
    let said = said.chain(words).chain(invoices);
    said.collect::<Vec<String>>().join(", ")
}

fn text(answer: &Value, field: &str) -> Result<String> {
    let text = answer[field].as_str().map(str::to_owned);
    text.with_context(|| format!("there is no {field} in {answer}"))
}

async fn until(client: &Client, query: &str, wanted: &str) -> Result<()> {
    wait::until(wanted.to_owned(), BOUND, async || {
        match client.query_opt(query, &[]).await {
            Ok(Some(row)) if row.get::<_, &str>(0) == wanted => Seen::Reached(()),
            Ok(row) => Seen::NotYet(row.map(|row| row.get(0)).unwrap_or_default()),
            Err(error) => Seen::Never(format!("{:#}", anyhow::Error::from(error))),
        }
    })
    .await
}
