//! What the demo prints.

use anyhow::{Context as _, Result};
use lapin::message::Delivery as Message;
use tokio_postgres::Client;

use super::{
    deliver::{Answered, Delivery, is_published},
    story::Story,
};
use crate::table;

/// The main app's view of the bookings' invoices.
const INVOICES: &str = r#"
    SELECT "bookingId"::text, "stripeInvoiceId", trim_scale("amount")::text, "currency", "status"::text,
           to_char("createdAt", 'YYYY-MM-DD HH24:MI:SS'), "pdfUrl"
    FROM "Invoice" ORDER BY "bookingId"
"#;

/// The column of `pdfUrl` in that.
const PDF_URL: usize = 6;

/// The main app's view of the hosts.
const HOSTS: &str = r#"
    SELECT "stripeAccountId", coalesce("hostId", ''), "status"::text, "canSell"::text,
           array_to_string("currentlyDue", ', ')
    FROM "HostOnboarding" ORDER BY "stripeAccountId"
"#;

/// Says what is being done.
pub(super) fn step(text: &str) {
    println!("-- {text}");
}

/// One line for each command.
pub(super) fn command(name: &str, answer: &str) {
    println!("   {name:<17} {answer}");
}

/// One line for each piece of news.
pub(super) fn news(news: &serde_json::Value) {
    let text = |field: &str| news[field].as_str().unwrap_or_default().to_owned();
    let said = if news["bookingId"].is_null() {
        let sells = if news["canSell"] == true {
            "can sell"
        } else {
            "cannot sell yet"
        };
        format!("{} {}, {sells}", text("hostId"), text("to"))
    } else {
        format!(
            "booking {} {}: {} {}, {} refunded",
            news["bookingId"],
            text("status"),
            text("amount"),
            text("currency"),
            text("amountRefunded"),
        )
    };
    println!("   {:<24}  {said}", text("kind"));
}

/// One line for each delivery.
pub(super) fn deliveries(answers: &[Answered]) {
    for (number, answered) in answers.iter().enumerate() {
        let note = match answered.delivery {
            Delivery::First => "",
            Delivery::Again => "  again",
            Delivery::Forged => "  FORGED",
        };
        let Answered {
            kind,
            about,
            answer,
            ..
        } = answered;
        println!(
            "   {:>2}  {kind:<27} {about:<10} {}{note}",
            number + 1,
            answer.status.as_u16()
        );
    }
}

/// What the forged event got for an answer, and how many messages went on.
pub(super) fn forged(answers: &[Answered], story: &Story, published: &[Message]) {
    for answered in answers
        .iter()
        .filter(|answered| answered.delivery == Delivery::Forged)
    {
        let Answered {
            kind,
            about,
            answer,
            ..
        } = answered;
        println!(
            "\nThe forged {kind} of {about} ({}) got:",
            story.forged.event.id
        );
        println!("  HTTP {}  {}", answer.status, answer.text().trim_end());
        let which = if is_published(&story.forged, published) {
            "one"
        } else {
            "none"
        };
        println!(
            "It is {which} of the {} messages that ingest has published.",
            published.len()
        );
    }
}

/// The rows of the tables that the main app reads, as text.
pub(super) struct Tables {
    invoices: Vec<Vec<String>>,
    hosts: Vec<Vec<String>>,
}

impl Tables {
    pub(super) async fn read(client: &Client) -> Result<Self> {
        Ok(Self {
            invoices: read(client, INVOICES)
                .await
                .context("reading \"Invoice\"")?,
            hosts: read(client, HOSTS)
                .await
                .context("reading \"HostOnboarding\"")?,
        })
    }

    pub(super) fn print(&self) {
        let headings = [
            "bookingId",
            "stripeInvoiceId",
            "amount",
            "currency",
            "status",
            "createdAt",
        ];
        let mut invoices = table::with_headings(headings);
        invoices.add_rows(self.invoices.iter().map(|row| &row[..PDF_URL]));
        println!("\nThe table \"Invoice\", as the main app reads it:\n{invoices}");
        // Too wide for a column.
        for row in &self.invoices {
            println!("  pdfUrl of booking {}: {}", row[0], row[PDF_URL]);
        }
        let headings = [
            "stripeAccountId",
            "hostId",
            "status",
            "canSell",
            "currentlyDue",
        ];
        let mut hosts = table::with_headings(headings);
        hosts.add_rows(self.hosts.clone());
        println!("\nThe table \"HostOnboarding\":\n{hosts}");
    }

    /// In what the rows are not as the story says.
    pub(super) fn differences(&self, story: &Story) -> Vec<String> {
        let mut differences = Vec::new();
        let invoices: Vec<Vec<String>> = self
            .invoices
            .iter()
            .map(|row| row[..PDF_URL].to_vec())
            .collect();
        if invoices != story.invoices {
            differences.push(format!("\"Invoice\" should hold {:?}", story.invoices));
        }
        if let Some(row) = self
            .invoices
            .iter()
            .find(|row| !row[PDF_URL].starts_with("https://"))
        {
            differences.push(format!("booking {} has no PDF", row[0]));
        }
        if self.hosts != story.hosts {
            differences.push(format!("\"HostOnboarding\" should hold {:?}", story.hosts));
        }
        differences
    }
}

async fn read(client: &Client, query: &str) -> Result<Vec<Vec<String>>> {
    let rows = client.query(query, &[]).await?;
    Ok(rows
        .iter()
        .map(|row| (0..row.len()).map(|column| row.get(column)).collect())
        .collect())
}
