//! The story of a booking, as a NestJS app lives it: the code of docs/MAIN_APP.md with npm's
//! packages, both services as processes, and a stand-in for Stripe, whose webhooks come shuffled
//! and twice.

use std::collections::{BTreeMap, BTreeSet};

use harness::{
    nest::{Heard, NestApp},
    services::Service,
    stripe_api::{Options, Order, Payment, Recorded, StandIn},
};
use serde_json::{Value, json};

use crate::support::{BOUND, Deployment, SECRET};

/// The app, the services and Stripe.
struct Story {
    /// Its log is read when it goes, from the deployment's folder.
    _worker: Service,
    dialoom: Deployment,
    api: StandIn,
    app: NestApp,
    /// How often Stripe has delivered.
    deliveries: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_sells_a_call_and_gives_a_part_of_it_back() {
    let mut story = Story::begin().await;
    let account = story.the_host_onboards().await;
    story.dialoom.book(42).await;
    let failed = story
        .the_guests_bank_takes_its_time_and_does_not_pay()
        .await;
    let session = story.the_guest_pays_by_card(&failed).await;
    let invoice = story.the_app_shows_the_invoice().await;
    story.nobody_can_pay_again(&invoice).await;
    story.a_part_is_refunded(&session).await;

    what_stripe_was_asked(&story.api.requests(), &account, &[failed, session]);
    what_stripe_holds(&story.api, &account, &invoice);
    story.what_the_app_heard(&account, &invoice).await;
    story.end().await;
}

impl Story {
    async fn begin() -> Self {
        let dialoom = Deployment::start("booking").await;
        let api = StandIn::start(Options::default()).await.unwrap();
        let options = dialoom.commanding(&api).env("CHANGES", "yes");
        let worker = Service::start(options).await.unwrap();
        dialoom.until_commands().await;
        let app = dialoom.nest_app(&[("NEWS", "yes")]).await;
        Self {
            _worker: worker,
            dialoom,
            api,
            app,
            deliveries: 0,
        }
    }

    async fn end(self) {
        self.app.stop().await.unwrap();
    }

    /// Ada becomes a host: the app asks for her account and for a link, she fills the form in.
    async fn the_host_onboards(&mut self) -> String {
        let ada = json!({ "id": 7, "email": "ada@example.org", "country": "ES" });
        let answer = self.ask("hosts", "onboard", ada).await.unwrap();
        assert_eq!(answer["status"], "INCOMPLETE");
        assert!(answer["url"].as_str().unwrap().starts_with("https://"));
        let account = answer["stripeAccountId"].as_str().unwrap().to_owned();
        self.api.finish_onboarding(&account);
        self.deliver().await;
        let host = r#"SELECT concat_ws(' ', "hostId", "status", "canSell") FROM "HostOnboarding""#;
        self.dialoom.until(host, "7 ENABLED t").await;
        account
    }

    /// Grace books a call of Ada's and pays by a method that takes days, and fails.
    async fn the_guests_bank_takes_its_time_and_does_not_pay(&mut self) -> String {
        let first = self.checkout().await.unwrap();
        assert_eq!(self.checkout().await.unwrap(), first, "one session");
        let session = first["sessionId"].as_str().unwrap().to_owned();
        self.api.pay(&session, Payment::Delayed).unwrap();
        self.deliver().await;
        assert_eq!(self.checkout().await.unwrap_err()["code"], "processing");
        self.api.settle(&session, false).unwrap();
        self.deliver().await;
        session
    }

    /// She takes her card then. Her booking shows the invoice of her payment, with its PDF.
    async fn the_guest_pays_by_card(&mut self, failed: &str) -> String {
        let second = self.checkout().await.unwrap();
        let session = second["sessionId"].as_str().unwrap().to_owned();
        assert_ne!(session, failed);
        self.api.pay(&session, Payment::Card).unwrap();
        self.deliver().await;
        let row = r#"SELECT concat_ws(' ', "bookingId", "status", trim_scale("amount"), "currency",
            "pdfUrl" LIKE 'https://%/pdf') FROM "Invoice""#;
        self.dialoom.until(row, "42 PAID 45.99 eur t").await;
        session
    }

    /// To the guest by her booking, and to the host in the list of her invoices.
    async fn the_app_shows_the_invoice(&mut self) -> Value {
        let shown = self.ask("bookings", "invoice", json!(42)).await.unwrap();
        let invoice = shown["invoice"].clone();
        for (field, expected) in [
            ("bookingId", json!(42)),
            ("status", json!("PAID")),
            ("amount", json!("45.99")),
            ("currency", json!("eur")),
            ("amountRefunded", json!("0")),
            ("amountCredited", json!("0")),
        ] {
            assert_eq!(invoice[field], expected, "{field} of {shown}");
        }
        let row = r#"SELECT concat_ws(' ', "stripeInvoiceId", "pdfUrl") FROM "Invoice""#;
        let text = |field: &str| invoice[field].as_str().unwrap();
        let same = format!("{} {}", text("stripeInvoiceId"), text("pdfUrl"));
        assert_eq!(self.dialoom.read(row).await, same);
        let list = self.ask("bookings", "invoicesOf", json!(7)).await.unwrap();
        let account = &invoice["stripeAccountId"];
        let expected = json!({ "stripeAccountId": account, "invoices": [invoice], "next": null });
        assert_eq!(list, expected);
        invoice
    }

    async fn nobody_can_pay_again(&mut self, invoice: &Value) {
        let error = self.checkout().await.unwrap_err();
        assert_eq!(error["code"], "booking_paid");
        assert_eq!(error["invoice"], *invoice);
    }

    /// Ada gives ten euros back. The booking stays paid, and says what was refunded.
    async fn a_part_is_refunded(&mut self, session: &str) {
        self.api.refund(session, Some(1000)).unwrap();
        self.deliver().await;
        let refunded = "SELECT amount_refunded::text FROM stripe.invoice";
        self.dialoom.until(refunded, "1000").await;
        let shown = self.ask("bookings", "invoice", json!(42)).await.unwrap();
        let invoice = &shown["invoice"];
        assert_eq!(
            (&invoice["status"], &invoice["amountRefunded"]),
            (&json!("PAID"), &json!("10"))
        );
        let words = shown["words"].to_string();
        assert!(words.contains("10 eur"), "{words}");
    }

    /// Each message once by its id, those of the booking and of the host in their order.
    async fn what_the_app_heard(&mut self, account: &str, invoice: &Value) {
        let waiting = "SELECT count(*)::text FROM stripe.outbox WHERE state <> 'published'";
        self.dialoom.until(waiting, "0").await;
        let told = "SELECT id::text FROM stripe.outbox ORDER BY id";
        let told = self.dialoom.read(told).await;
        let told: BTreeSet<&str> = told.split("; ").collect();
        let mut by_id: BTreeMap<String, Heard> = BTreeMap::new();
        while by_id.len() < told.len() {
            let heard = tokio::time::timeout(BOUND, self.app.hear()).await;
            let heard = heard.expect("not all of it is heard").unwrap();
            by_id.insert(heard.news["id"].as_str().unwrap().to_owned(), heard);
        }
        assert!(by_id.keys().all(|id| told.contains(id.as_str())));
        let mut of_booking: Vec<&Heard> = Vec::new();
        let mut of_host: Vec<&Heard> = Vec::new();
        for heard in by_id.values() {
            assert!(heard.done, "{heard:?}");
            match heard.key.as_str() {
                "booking 42" => of_booking.push(heard),
                key => {
                    assert_eq!(key, format!("host {account}"));
                    of_host.push(heard);
                }
            }
        }
        news_of_the_booking(of_booking, account, invoice);
        news_of_the_host(of_host);
    }

    async fn checkout(&mut self) -> Result<Value, Value> {
        let booking = json!({
            "id": 42, "hostId": 7, "price": "45.99", "currency": "eur",
            "title": "A call of an hour", "guestEmail": "grace@example.org",
        });
        self.ask("bookings", "checkout", booking).await
    }

    async fn ask(&mut self, service: &str, method: &str, argument: Value) -> Result<Value, Value> {
        let arguments = [argument];
        let called = self.app.call(service, method, &arguments);
        let answer = tokio::time::timeout(BOUND, called).await;
        answer.expect("no answer").unwrap()
    }

    /// Stripe delivers all that happened since, in any order and twice.
    async fn deliver(&mut self) {
        self.deliveries += 1;
        let order = Order::ShuffledTwice(self.deliveries);
        let url = self.dialoom.ingest.url();
        self.api.deliver(&url, SECRET, order).await.unwrap();
    }
}

/// It is paid once and refunded once. Whether the app heard of a draft or an open invoice before
/// depends on which webhook came first.
fn news_of_the_booking(mut heard: Vec<&Heard>, account: &str, invoice: &Value) {
    heard.sort_by_key(|one| one.news["rowVersion"].as_u64());
    let kinds: Vec<&str> = heard
        .iter()
        .map(|one| one.news["kind"].as_str().unwrap())
        .collect();
    let (last, before) = kinds.split_last_chunk::<2>().map(|(a, b)| (b, a)).unwrap();
    assert_eq!(*last, ["booking.invoice.paid", "booking.invoice.refunded"]);
    let steps = ["booking.invoice.draft", "booking.invoice.sent"];
    assert!(before.iter().all(|kind| steps.contains(kind)), "{kinds:?}");
    let mut refunded = heard.last().unwrap().news.clone();
    for of_the_message in ["id", "at", "rowVersion"] {
        refunded.as_object_mut().unwrap().remove(of_the_message);
    }
    assert_eq!(
        refunded,
        json!({
            "version": 1, "kind": "booking.invoice.refunded", "bookingId": 42,
            "stripeInvoiceId": invoice["stripeInvoiceId"], "status": "PAID", "amount": "45.99",
            "currency": "eur", "amountRefunded": "10", "amountCredited": "0", "hasPdf": true,
            "stripeAccountId": account,
        })
    );
}

/// Ada was incomplete at first, and may sell in the end.
fn news_of_the_host(mut heard: Vec<&Heard>) {
    heard.sort_by_key(|one| one.news["rowVersion"].as_u64());
    let (first, last) = (&heard[0].news, &heard.last().unwrap().news);
    assert_eq!(
        (&first["from"], &first["to"]),
        (&Value::Null, &json!("INCOMPLETE"))
    );
    assert_eq!(
        (&last["to"], &last["canSell"]),
        (&json!("ENABLED"), &json!(true))
    );
    assert_eq!(last["hostId"], "7");
}

/// What Stripe was told to do, in its order and field by field: an account, a link to its form,
/// and two sessions of the host's.
fn what_stripe_was_asked(requests: &[Recorded], account: &str, sessions: &[String; 2]) {
    let posted = requests.iter().filter(|one| one.method == "POST");
    let posted: Vec<&Recorded> = posted.collect();
    let [made, link, first, second] = posted[..] else {
        panic!("{posted:#?}");
    };
    let form = json!({
        "account": account,
        "use_case": {
            "type": "account_onboarding",
            "account_onboarding": {
                "refresh_url": "https://app.example.com/hosts/7/onboarding",
                "return_url": "https://app.example.com/hosts/7",
            },
        },
    });
    let mut marks = BTreeSet::new();
    let mut without_mark = |request: &Recorded| {
        let mut request = request.clone();
        let metadata = request.params["metadata"].as_object_mut().unwrap();
        let mark = metadata.remove("commandAttempt");
        assert!(mark.is_some_and(|mark| marks.insert(mark.to_string())));
        request
    };
    let made_of = without_mark(made);
    was_asked(&made_of, "/v2/core/accounts", None, &account_of_the_host());
    was_asked(link, "/v2/core/account_links", None, &form);
    for session in [first, second] {
        let session = without_mark(session);
        was_asked(
            &session,
            "/v1/checkout/sessions",
            Some(account),
            &checkout(),
        );
    }
    // Under keys of their own: a session is made once, whoever asks twice.
    let keys: BTreeSet<_> = posted.iter().map(|one| &one.idempotency_key).collect();
    assert_eq!(keys.len(), posted.len(), "{keys:?}");

    // Anything else only reads, what is the host's.
    for read in requests.iter().filter(|one| one.method != "POST") {
        let of_account = format!("/v1/accounts/{account}");
        let of_session = |id: &String| read.path.ends_with(id.as_str());
        let is_known = read.path == of_account
            || read.path.starts_with("/v2/core/accounts")
            || read.path.starts_with("/v1/payment_intents/pi_")
            // Whether the app has made sessions of the booking itself.
            || (read.path == "/v1/checkout/sessions"
                && read.stripe_account.as_deref() == Some(account))
            || sessions.iter().any(of_session);
        assert!(is_known && read.method == "GET", "{read:?}");
    }
}

fn was_asked(request: &Recorded, path: &str, account: Option<&str>, params: &Value) {
    assert_eq!(request.path, path);
    assert_eq!(request.query, "", "{path}");
    assert_eq!(request.stripe_account.as_deref(), account, "{path}");
    assert_eq!(request.stripe_context, None, "{path}");
    assert_eq!(request.stripe_version.as_deref(), Some("2026-10-28.endive"));
    assert_eq!(request.params, *params, "{path}");
    assert_eq!(request.status, Some(200), "{path}");
}

fn account_of_the_host() -> Value {
    let requested = json!({ "requested": true });
    json!({
        "contact_email": "ada@example.org",
        "display_name": "ada@example.org",
        "dashboard": "express",
        "identity": { "country": "ES" },
        "configuration": {
            "merchant": { "capabilities": { "card_payments": requested } },
            "recipient": {
                "capabilities": { "stripe_balance": { "stripe_transfers": requested } },
            },
        },
        "defaults": {
            "responsibilities": {
                "fees_collector": "application", "losses_collector": "application",
            },
        },
        "metadata": { "hostId": "7" },
        "include": [
            "configuration.merchant", "configuration.recipient", "defaults", "identity",
            "requirements",
        ],
    })
}

/// A direct charge with the platform's tenth, and an invoice that names the booking.
fn checkout() -> Value {
    let metadata = json!({ "dialoomBookingId": "42" });
    json!({
        "mode": "payment",
        "success_url": "https://app.example.com/bookings/42/paid",
        "cancel_url": "https://app.example.com/bookings/42",
        "customer_email": "grace@example.org",
        "line_items": [{
            "quantity": 1,
            "price_data": {
                "currency": "eur", "unit_amount": 4599,
                "product_data": { "name": "A call of an hour" },
            },
        }],
        "metadata": metadata,
        "payment_intent_data": { "application_fee_amount": 460, "metadata": metadata },
        "invoice_creation": { "enabled": true, "invoice_data": { "metadata": metadata } },
        "adaptive_pricing": { "enabled": false },
    })
}

/// One account, one charge that was paid, one fee, and one invoice, which the host issues.
fn what_stripe_holds(api: &StandIn, account: &str, shown: &Value) {
    assert_eq!(api.accounts().len(), 1);
    let charges = api.objects(account, "charge");
    let paid = charges.iter().filter(|charge| charge["paid"] == true);
    let paid: Vec<_> = paid
        .map(|charge| (&charge["amount"], &charge["application_fee_amount"]))
        .collect();
    assert_eq!(paid, [(&json!(4599), &json!(460))]);
    let invoices = api.objects(account, "invoice");
    assert_eq!(invoices.len(), 1);
    let invoice = &invoices[0];
    assert_eq!(invoice["id"], shown["stripeInvoiceId"]);
    assert_eq!(invoice["invoice_pdf"], shown["pdfUrl"]);
    assert_eq!(invoice["issuer"], json!({ "type": "self" }));
    assert_eq!(invoice["metadata"], json!({ "dialoomBookingId": "42" }));
}
