//! `worker invoices`: how invoices are, and which of them the main app does not see yet.

mod known;
mod waiting;
mod words;

use clap::Subcommand;

use super::{context::Context, error::CliError};

pub(super) use self::{known::object, words::fields};

#[derive(Debug, Subcommand)]
pub(super) enum Invoices {
    /// Show one invoice: its status, what was refunded and credited, why it is not final
    #[command(after_help = "Exit code 1: no event of it is known.")]
    Show(known::Show),
    /// List invoices, by id
    #[command(after_help = "Examples:
  worker invoices list --account acct_1abc
  worker invoices list --given-back
  worker invoices list --not-final --json | jq .finalization_error")]
    List(known::List),
    /// List invoices without a booking to show them at, and why
    #[command(after_help = "Reasons:
  no_booking          nothing names a booking: its session may still come, or it is not ours
  booking_missing     the booking is not in the main app's table yet
  owner_unknown       BOOKING_OWNER_QUERY does not know whose the booking is
  booking_claimed_by_other_account
                      the booking is another account's
  amount_unknown      no event gave a total and a currency
  too_many_bookings   it has named more bookings than an invoice may, and names none
  too_many_objects    more invoices and sessions name the booking than may, before it

They are joined by themselves as soon as the missing part is there.

Examples:
  worker invoices waiting
  worker invoices waiting --reason booking_missing --json | jq .booking")]
    Waiting(waiting::Waiting),
}

impl Invoices {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        match self {
            Self::Show(show) => show.run(context).await,
            Self::List(list) => list.run(context).await,
            Self::Waiting(waiting) => waiting.run(context).await,
        }
    }
}
