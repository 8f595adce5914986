//! `worker invoices`: invoices that the main app does not see yet.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    context::{Context, Form},
    failed::Failed,
    output::{safe, stamp, time},
};
use crate::store::overview::{self, WaitingInvoice};

/// The most rows held at once.
const PAGE: u64 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum Invoices {
    /// List invoices without a booking to show them at, and why
    #[command(after_help = "Reasons:
  no_booking          nothing names a booking: its session may still come, or it is not ours
  booking_missing     the booking is not in the main app's table yet
  owner_unknown       BOOKING_OWNER_QUERY does not know whose the booking is
  booking_claimed_by_other_account
                      the booking is another account's
  amount_unknown      no event gave a total and a currency

They are joined by themselves as soon as the missing part is there.

Examples:
  worker invoices waiting
  worker invoices waiting --reason booking_missing --json | jq .booking")]
    Waiting(Waiting),
}

#[derive(Debug, Args)]
pub(super) struct Waiting {
    /// Only with this reason
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Only of this connected account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Print at most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u64,
    /// Begin behind this invoice: the last one of the page before
    #[arg(long, value_name = "ID", default_value = "")]
    after: String,
    #[command(flatten)]
    form: Form,
}

impl Invoices {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), Failed> {
        match self {
            Self::Waiting(waiting) => waiting.run(context).await,
        }
    }
}

impl Waiting {
    async fn run(&self, context: &Context<'_>) -> Result<(), Failed> {
        let (conn, mut output) = (context.connect().await?, self.form.output());
        let (reason, account) = (self.reason.as_deref(), self.account.as_deref());
        let (mut after, mut printed) = (self.after.clone(), 0);
        while printed < self.limit {
            context.check()?;
            let room = i64::try_from(PAGE.min(self.limit - printed)).unwrap_or(1);
            let page = overview::waiting(&conn, reason, account, &after, room).await?;
            let Some(last) = page.last() else {
                break;
            };
            after.clone_from(&last.id);
            printed += u64::try_from(page.len()).unwrap_or(u64::MAX);
            if output.json {
                for invoice in &page {
                    output.object(&object(invoice))?;
                }
            } else {
                let heading = [
                    "INVOICE",
                    "ACCOUNT",
                    "STATUS",
                    "WAITS FOR",
                    "BOOKING",
                    "EVENT",
                    "SINCE",
                ];
                output.table(heading, page.iter().map(row))?;
            }
        }
        match printed {
            0 => eprintln!("There are none."),
            printed if printed == self.limit => {
                eprintln!("More may follow: --after {}", safe(&after));
            }
            _ => {}
        }
        Ok(())
    }
}

fn row(invoice: &WaitingInvoice) -> [String; 7] {
    let booking = invoice.booking_id;
    [
        invoice.id.clone(),
        invoice.account.clone(),
        invoice.status.clone(),
        invoice.waiting.clone(),
        booking
            .map(|booking| booking.to_string())
            .unwrap_or_default(),
        invoice.event_id.clone(),
        time(invoice.updated_at),
    ]
}

fn object(invoice: &WaitingInvoice) -> serde_json::Value {
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
