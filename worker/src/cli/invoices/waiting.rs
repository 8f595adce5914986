//! `worker invoices waiting`: invoices that the main app does not see yet.

use clap::Args;
use serde_json::json;

use crate::cli::{
    context::Context,
    error::CliError,
    listing::{self, Listing, PageArgs},
    output::{or_empty, stamp, time},
};
use store::{Connection, invoice_query::KnownInvoice, operator_query};

#[derive(Debug, Args)]
pub(in crate::cli) struct Waiting {
    /// Only with this reason
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Only of this connected account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Begin behind this invoice: the last one of the page before
    #[arg(long, value_name = "ID", default_value = "")]
    after: String,
    #[command(flatten)]
    page: PageArgs,
}

impl Waiting {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let conn = context.connect().await?;
        let after = Some(self.after.clone());
        listing::list(context, &conn, self, after, self.page).await
    }
}

impl Listing<7> for Waiting {
    type Row = KnownInvoice;
    type Cursor = String;
    const HEADING: [&'static str; 7] = [
        "INVOICE",
        "ACCOUNT",
        "STATUS",
        "WAITS FOR",
        "BOOKING",
        "EVENT",
        "SINCE",
    ];

    async fn page(
        &self,
        conn: &Connection,
        after: Option<&String>,
        limit: i64,
    ) -> store::Result<Vec<KnownInvoice>> {
        let (reason, account) = (self.reason.as_deref(), self.account.as_deref());
        let after = after.map_or("", String::as_str);
        operator_query::waiting(conn, reason, account, after, limit).await
    }

    fn cursor(&self, invoice: &KnownInvoice) -> String {
        invoice.id.clone()
    }

    fn id(&self, invoice: &String) -> String {
        invoice.clone()
    }

    fn cells(&self, invoice: &KnownInvoice) -> [String; 7] {
        let booking = invoice.booking_id;
        [
            invoice.id.clone(),
            invoice.account.clone(),
            invoice.status.clone(),
            or_empty(invoice.waiting.as_ref()),
            booking
                .map(|booking| booking.to_string())
                .unwrap_or_default(),
            invoice.event_id.clone(),
            time(invoice.updated_at),
        ]
    }

    fn object(&self, invoice: &KnownInvoice) -> serde_json::Value {
        json!({
            "invoice": invoice.id,
            "account": invoice.account,
            "status": invoice.status,
            "waiting": invoice.waiting,
            "booking": invoice.booking_id,
            "event_id": invoice.event_id,
            "updated_at": stamp(invoice.updated_at),
        })
    }
}
