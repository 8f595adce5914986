//! The second part: a NestJS app asks for it by message, and hears of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use harness::{
    nest::Heard,
    stripe_api::{Order, Payment, StandIn},
    test_servers::TestBroker,
    wait::{self, Seen},
};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{
    app::{self, App},
    report,
};

/// Told before it begins.
pub(super) const INTRODUCTION: &str = "
Now a NestJS app asks: the code of docs/MAIN_APP.md, whose ClientProxy sends commands over
RabbitMQ and whose @EventPattern handlers hear what changes. A stand-in for Stripe answers.
Eva becomes a host, and a guest books her call. A payment from the guest's bank takes days
and fails; then the guest pays by card, and gets a part back.";

/// The booking of the guest.
const BOOKING: i32 = 4;
const BOUND: Duration = Duration::from_secs(60);
const ROW: &str = r#"
    SELECT concat_ws(' ', "bookingId", "status", trim_scale("amount"), "currency",
        "pdfUrl" LIKE 'https://%') FROM "Invoice" WHERE "bookingId" = 4"#;
const HOST: &str = r#"SELECT "status"::text FROM "HostOnboarding" WHERE "hostId" = 'eva'"#;
const REFUND_TOLD: &str = "SELECT count(*)::text FROM stripe.outbox
    WHERE kind = 'booking.invoice.refunded' AND state = 'published'";
const WAITING: &str = "SELECT count(*)::text FROM stripe.outbox WHERE state = 'waiting'";
/// The news of the booking and of the host.
const TOLD: &str = "SELECT id::text FROM stripe.outbox WHERE key IN ('4', $1)";

/// What the second part is told with.
pub(super) struct Part<'a> {
    pub(super) api: &'a StandIn,
    pub(super) broker: &'a TestBroker,
    pub(super) client: &'a Client,
    /// The address of `ingest`.
    pub(super) ingest: &'a str,
    pub(super) secret: &'a str,
    pub(super) app: App,
    /// How often Stripe has delivered.
    pub(super) deliveries: u64,
}

impl Part<'_> {
    /// Tells it; fails when it does not end as it should.
    pub(super) async fn tell(mut self) -> Result<()> {
        let account = self.eva_becomes_a_host().await?;
        let insert = r#"INSERT INTO "Booking" ("id") VALUES ($1)"#;
        self.client.execute(insert, &[&BOOKING]).await?;
        let failed = self.a_payment_takes_days_and_fails().await?;
        let session = self.a_card_pays(&failed).await?;
        self.a_part_is_given_back(&session).await?;
        let heard = self.hear(&account).await?;
        self.app.stop().await?;
        paid_and_refunded_once(&heard)
    }

    async fn eva_becomes_a_host(&mut self) -> Result<String> {
        let eva = json!({ "id": "eva", "email": "eva@example.org", "country": "ES" });
        let answer = self.app.ask(app::ONBOARD, &eva).await?;
        let account = text(&answer, "stripeAccountId")?;
        self.api.finish_onboarding(&account);
        self.deliver("Eva fills in Stripe's form").await?;
        self.until(HOST, "ENABLED").await?;
        self.app.ask(app::STATUS, &json!("eva")).await?;
        Ok(account)
    }

    async fn a_payment_takes_days_and_fails(&mut self) -> Result<String> {
        let session = self.book().await?;
        self.api.pay(&session, Payment::Delayed)?;
        self.deliver("The guest lets the bank pay, which takes days")
            .await?;
        let (booking, code) = (checkout(), "processing");
        self.app.refused(app::CHECKOUT, &booking, code).await?;
        self.api.settle(&session, false)?;
        self.deliver("The bank does not pay").await?;
        Ok(session)
    }

    async fn a_card_pays(&mut self, failed: &str) -> Result<String> {
        let session = self.book().await?;
        ensure!(session != failed, "the failed session is answered again");
        self.api.pay(&session, Payment::Card)?;
        self.deliver("The guest pays by card").await?;
        self.until(ROW, "4 PAID 30 eur t").await?;
        let (booking, code) = (checkout(), "booking_paid");
        self.app.refused(app::CHECKOUT, &booking, code).await?;
        Ok(session)
    }

    async fn a_part_is_given_back(&mut self, session: &str) -> Result<()> {
        self.api.refund(session, Some(1000))?;
        self.deliver("Eva gives 10 euros back").await?;
        self.until(REFUND_TOLD, "1").await?;
        let of_booking = self.app.ask(app::INVOICE, &json!(BOOKING)).await?;
        let of_host = self.app.ask(app::INVOICES, &json!("eva")).await?;
        ensure!(
            of_host["invoices"] == json!([of_booking["invoice"]]),
            "the host's invoices are {of_host}"
        );
        Ok(())
    }

    /// The guest books, and has one session, however often the app asks. Gives its id.
    async fn book(&mut self) -> Result<String> {
        let answer = self.app.ask_twice(app::CHECKOUT, &checkout()).await?;
        text(&answer, "sessionId")
    }

    /// Says what happened at Stripe, whose webhooks then come.
    async fn deliver(&mut self, what: &str) -> Result<()> {
        self.deliveries += 1;
        let order = Order::ShuffledTwice(self.deliveries);
        let sent = self.api.deliver(self.ingest, self.secret, order).await?;
        let events: BTreeSet<&str> = sent.iter().map(|event| event.id.as_str()).collect();
        let events = events.len();
        report::step(&format!(
            "{what}: {events} webhooks come, shuffled and twice"
        ));
        Ok(())
    }

    /// All that the app's handlers did for the booking and the host, in the order in which they
    /// heard it. The same news may come twice, with the same id, and is done once.
    async fn hear(&mut self, account: &str) -> Result<Vec<Heard>> {
        // Whatever is delivered twice has come twice by then.
        let queue = self.broker.worker_queue();
        self.broker.until_depth(&queue, 0, BOUND).await?;
        self.until(WAITING, "0").await?;
        let told = self.client.query(TOLD, &[&account]).await?;
        let mut told: BTreeSet<String> = told.iter().map(|row| row.get(0)).collect();
        let mut done = Vec::new();
        while !told.is_empty() {
            let heard = self.app.hear().await?;
            if told.remove(&text(&heard.news, "id")?) && heard.done {
                done.push(heard);
            }
        }
        println!("\nWhat the app's @EventPattern handlers have heard of Eva and the booking:");
        for heard in &done {
            report::news(&heard.news);
        }
        Ok(done)
    }

    async fn until(&self, query: &str, wanted: &str) -> Result<()> {
        wait::until(wanted.to_owned(), BOUND, async || {
            match self.client.query_opt(query, &[]).await {
                Ok(Some(row)) if row.get::<_, &str>(0) == wanted => Seen::Reached(()),
                Ok(row) => Seen::NotYet(row.map(|row| row.get(0)).unwrap_or_default()),
                Err(error) => Seen::Never(format!("{:#}", anyhow::Error::from(error))),
            }
        })
        .await
    }
}

fn checkout() -> Value {
    json!({
        "id": BOOKING, "hostId": "eva", "price": "30", "currency": "eur",
        "title": "A call of half an hour",
    })
}

/// The app heard once that the booking is paid, and then once that a part was refunded.
fn paid_and_refunded_once(heard: &[Heard]) -> Result<()> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for kind in heard.iter().filter_map(|heard| heard.news["kind"].as_str()) {
        *times.entry(kind).or_default() += 1;
    }
    let last = heard.last().context("the app has heard nothing")?;
    let (paid, refunded) = ("booking.invoice.paid", "booking.invoice.refunded");
    ensure!(
        [paid, refunded].map(|kind| times.get(kind)) == [Some(&1), Some(&1)]
            && last.news["kind"] == refunded,
        "it should have heard once of {paid}, and then once of {refunded}: {times:?}"
    );
    println!("It has heard exactly once that the booking is paid.");
    Ok(())
}

fn text(answer: &Value, field: &str) -> Result<String> {
    let text = answer[field].as_str().map(str::to_owned);
    text.with_context(|| format!("there is no {field} in {answer}"))
}
