//! What must be true when bookings were sold.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::Value;
use tokio_postgres::Client;

use super::{Findings, ledger::column};
use crate::{
    faults::bookings::{Asked, Record, fee, host, price},
    stripe_api::StandIn,
};

/// The types of the webhooks of a booking that the worker takes in.
const HANDLED: [&str; 6] = [
    "checkout.session.completed",
    "invoice.created",
    "invoice.finalized",
    "invoice.updated",
    "invoice.paid",
    "invoice.payment_succeeded",
];

/// Whether the worker takes in events of this type.
pub(in super::super) fn is_handled(kind: &str) -> bool {
    HANDLED.contains(&kind)
}

/// Compares what the stand-in for Stripe holds, the database and the news with each other.
///
/// # Errors
/// When the database cannot be read.
pub(in super::super) async fn examine(
    client: &Client,
    api: &StandIn,
    record: &Record,
    asked: &Asked,
    bookings: i32,
) -> Result<Findings> {
    let mut findings = Findings::default();
    let invoices = at_stripe(api, asked, bookings, &mut findings);
    let query = r#"SELECT concat_ws(' ', "bookingId", "stripeInvoiceId", "status",
        ("amount" * 100)::bigint, "currency", "pdfUrl") FROM "Invoice""#;
    findings.compare("\"Invoice\"", &invoices, &column(client, query).await?);
    ledger(client, &record.accepted(), &mut findings).await?;
    let heard = record.heard();
    for booking in 1..=i64::from(bookings) {
        match heard.paid.get(&booking).map_or(0, BTreeSet::len) {
            0 => findings.lost(format!("no news that {booking} is paid")),
            1 => {}
            count => findings.doubled(format!("{count} times news that {booking} is paid")),
        }
    }
    for odd in heard.odd.iter().chain(&asked.odd) {
        findings.wrong(odd.clone());
    }
    Ok(findings)
}

/// Each booking has one session, which is paid, with one charge, one fee and one invoice.
/// Returns the rows of the invoices.
fn at_stripe(
    api: &StandIn,
    asked: &Asked,
    bookings: i32,
    findings: &mut Findings,
) -> BTreeSet<String> {
    let (mut sessions, mut invoices, mut charges) =
        (Objects::new(), Objects::new(), Objects::new());
    for account in api.accounts() {
        let id = text(&account, "id");
        let host = text(&account["metadata"], "hostId");
        let by_booking = |object: &Value| text(&object["metadata"], "dialoomBookingId");
        add(
            &mut sessions,
            api.objects(&id, "checkout.session"),
            &host,
            by_booking,
        );
        add(
            &mut invoices,
            api.objects(&id, "invoice"),
            &host,
            by_booking,
        );
        add(&mut charges, api.objects(&id, "charge"), &host, by_booking);
    }
    let mut fees = Objects::new();
    let by_charge = |object: &Value| text(object, "charge");
    add(&mut fees, api.objects("", "application_fee"), "", by_charge);
    let mut rows = BTreeSet::new();
    for booking in 1..=bookings {
        let key = booking.to_string();
        let session = one(&sessions, "session", &key, findings);
        let invoice = one(&invoices, "invoice", &key, findings);
        let charge = one(&charges, "charge", &key, findings);
        let paid = one(&fees, "fee", &text(&charge, "id"), findings);
        let of_host = host(booking).to_string();
        let is_right = session["payment_status"] == "paid"
            && session["status"] == "complete"
            && session["host"] == *of_host
            && session["amount_total"] == price(booking)
            && session["invoice"] == invoice["id"]
            && session["payment_intent"] == charge["payment_intent"]
            && asked.sessions.get(&booking) == Some(&text(&session, "id"))
            && invoice["host"] == *of_host
            && paid["amount"] == fee(booking);
        if !is_right {
            findings.wrong(format!(
                "booking {booking} at Stripe: {session}, {invoice}, {paid}"
            ));
        }
        let (id, pdf) = (text(&invoice, "id"), text(&invoice, "invoice_pdf"));
        rows.insert(format!("{booking} {id} PAID {} eur {pdf}", price(booking)));
    }
    strangers("session", &sessions, bookings, findings);
    strangers("invoice", &invoices, bookings, findings);
    strangers("charge", &charges, bookings, findings);
    if fees.len() != charges.len() {
        let (fees, charges) = (fees.len(), charges.len());
        findings.wrong(format!("{fees} charges have fees, of {charges} bookings"));
    }
    rows
}

/// Objects of bookings that there are not.
fn strangers(what: &str, objects: &Objects, bookings: i32, findings: &mut Findings) {
    let known = |key: &str| {
        key.parse()
            .is_ok_and(|id: i32| (1..=bookings).contains(&id))
    };
    for key in objects.keys().filter(|key| !known(key)) {
        findings.wrong(format!("a {what} of booking {key:?}, which there is not"));
    }
}

/// Objects by what they belong to.
type Objects = BTreeMap<String, Vec<Value>>;

fn add(objects: &mut Objects, more: Vec<Value>, host: &str, key: impl Fn(&Value) -> String) {
    for mut object in more {
        object["host"] = host.into();
        objects.entry(key(&object)).or_default().push(object);
    }
}

/// The only object of this key; null where there is none.
fn one(objects: &Objects, what: &str, key: &str, findings: &mut Findings) -> Value {
    match objects.get(key).map(Vec::as_slice) {
        Some([one]) => one.clone(),
        Some(several) => {
            findings.doubled(format!("{} {what}s of {key}", several.len()));
            several[0].clone()
        }
        None => {
            findings.lost(format!("no {what} of {key}"));
            Value::Null
        }
    }
}

fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}

/// Each event that was taken has its row and its bytes once; nothing is dead, and no command
/// or news is left.
async fn ledger(
    client: &Client,
    accepted: &BTreeSet<String>,
    findings: &mut Findings,
) -> Result<()> {
    let known = column(client, "SELECT id FROM stripe.event").await?;
    let known: BTreeSet<String> = known.into_iter().collect();
    for id in accepted.difference(&known) {
        findings.lost(format!("{id} is not in the ledger"));
    }
    let doubled = [
        "SELECT id || ' was judged ' || attempts || ' times' FROM stripe.event WHERE attempts > 1",
        "SELECT id || ' is archived twice' FROM (SELECT unnest(event_ids) AS id \
         FROM stripe.event_archive) all_of_them GROUP BY id HAVING count(*) > 1",
    ];
    for query in doubled {
        for row in column(client, query).await? {
            findings.doubled(row);
        }
    }
    let wrong = [
        "SELECT id || ' is dead: ' || coalesce(reason, '-') FROM stripe.event \
         WHERE outcome = 'dead'",
        "SELECT 'dead letter ' || id || ' ' || origin FROM stripe.dead_letter",
        "SELECT key || ' is ' || state FROM stripe.command WHERE state <> 'done'",
        "SELECT 'news ' || id || ' waits' FROM stripe.outbox WHERE state = 'waiting'",
        "SELECT 'news ' || id || ' had no queue' FROM stripe.outbox \
         WHERE state = 'unheard' AND kind LIKE 'booking.%'",
    ];
    for query in wrong {
        for row in column(client, query).await? {
            findings.wrong(row);
        }
    }
    Ok(())
}
