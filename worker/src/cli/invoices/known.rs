//! `worker invoices show` and `worker invoices list`.

use clap::Args;
use serde_json::{Value, json};
use store::{
    Connection,
    invoice_query::{self, Filter, KnownInvoice},
};

use super::words;
use crate::cli::{
    context::{Context, OutputFormat},
    error::CliError,
    listing::{self, Listing, PageArgs},
    output::{or_empty, safe, stamp, time},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// The invoice's id
    #[arg(value_name = "INVOICE_ID")]
    id: String,
    #[command(flatten)]
    form: OutputFormat,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Only of this connected account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Only those of which something was refunded or credited
    #[arg(long)]
    given_back: bool,
    /// Only those that Stripe could not finalise
    #[arg(long)]
    not_final: bool,
    /// Begin behind this invoice: the last one of the page before
    #[arg(long, value_name = "ID", default_value = "")]
    after: String,
    #[command(flatten)]
    page: PageArgs,
}

impl Show {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let conn = context.connect().await?;
        let Some(invoice) = invoice_query::find(&conn, &self.id).await? else {
            let unknown = format!("no event of {} is known", safe(&self.id));
            return Err(CliError::NotFound(unknown));
        };
        let mut output = self.form.output();
        if self.form.json {
            output.object(&object(&invoice))?;
            return Ok(());
        }
        output.card(&card(&invoice))?;
        Ok(())
    }
}

fn card(invoice: &KnownInvoice) -> Vec<(&'static str, String)> {
    let total = invoice.total.map(|total| words::amount(invoice, total));
    let booking = invoice.booking_id.map(|booking| booking.to_string());
    let mut card = vec![
        ("Invoice", invoice.id.clone()),
        ("Account", invoice.account.clone()),
        ("Number", or_empty(invoice.number.as_ref())),
        ("Status", invoice.status.clone()),
        ("Made", invoice.created.map(time).unwrap_or_default()),
        ("Total", total.unwrap_or_default()),
    ];
    card.extend(words::fields(invoice));
    card.extend([
        ("Booking", booking.unwrap_or_default()),
        ("Waits for", or_empty(invoice.waiting.as_ref())),
        ("Event", invoice.event_id.clone()),
        ("Changed", time(invoice.updated_at)),
    ]);
    card
}

impl List {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let conn = context.connect().await?;
        let after = Some(self.after.clone());
        listing::list(context, &conn, self, after, self.page).await
    }
}

impl Listing<8> for List {
    type Row = KnownInvoice;
    type Cursor = String;
    const HEADING: [&'static str; 8] = [
        "INVOICE",
        "ACCOUNT",
        "STATUS",
        "BOOKING",
        "TOTAL",
        "REFUNDED",
        "CREDITED",
        "NOT FINAL",
    ];

    async fn page(
        &self,
        conn: &Connection,
        after: Option<&String>,
        limit: i64,
    ) -> store::Result<Vec<KnownInvoice>> {
        let filter = Filter {
            account: self.account.as_deref(),
            given_back: self.given_back,
            failed: self.not_final,
        };
        invoice_query::list(conn, filter, after.map_or("", String::as_str), limit).await
    }

    fn cursor(&self, invoice: &KnownInvoice) -> String {
        invoice.id.clone()
    }

    fn id(&self, invoice: &String) -> String {
        invoice.clone()
    }

    fn cells(&self, invoice: &KnownInvoice) -> [String; 8] {
        let booking = invoice.booking_id.map(|booking| booking.to_string());
        let total = invoice.total.map(|total| words::amount(invoice, total));
        [
            invoice.id.clone(),
            invoice.account.clone(),
            invoice.status.clone(),
            booking.unwrap_or_default(),
            total.unwrap_or_default(),
            words::some(invoice, invoice.amount_refunded),
            words::some(invoice, invoice.amount_credited),
            words::not_final(invoice),
        ]
    }

    fn object(&self, invoice: &KnownInvoice) -> Value {
        object(invoice)
    }
}

/// The invoice for programs: amounts in minor units, as Stripe gives them.
pub(in crate::cli) fn object(invoice: &KnownInvoice) -> Value {
    let error = invoice.finalization_error_type.as_ref();
    json!({
        "invoice": invoice.id,
        "account": invoice.account,
        "number": invoice.number,
        "status": invoice.status,
        "created": invoice.created.map(stamp),
        "total": invoice.total,
        "currency": invoice.currency,
        "amount_refunded": invoice.amount_refunded,
        "amount_credited": invoice.amount_credited,
        "finalization_error": error.map(|kind| json!({
            "type": kind,
            "code": invoice.finalization_error_code,
            "words": words::not_final(invoice),
        })),
        "automatic_tax_status": invoice.automatic_tax_status,
        "booking": invoice.booking_id,
        "waiting": invoice.waiting,
        "event_id": invoice.event_id,
        "updated_at": stamp(invoice.updated_at),
    })
}
