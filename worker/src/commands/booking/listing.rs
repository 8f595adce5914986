//! `host.invoices`: the invoices of a host, in pages.

use domain::ids::AccountId;
use serde_json::{Value, json};
use store::{
    booking_query,
    invoice_query::{self, KnownInvoice},
};

use super::invoice::shown;
use crate::commands::{error::CommandError, host::known, service::CommandService};

/// The invoices of one page.
const PAGE: usize = 50;

impl CommandService {
    /// Answers the host's invoices behind `after`, the newest first: those of the account that
    /// it has or had last, and of its earlier ones.
    pub(in crate::commands) async fn invoices(
        &self,
        host: &str,
        after: Option<&str>,
    ) -> Result<Value, CommandError> {
        let last = self.noted(host).await?.map(|known| known.id);
        let accounts = self.accounts_of(host, last.as_ref()).await?;
        if accounts.is_empty() {
            return Err(known::unknown());
        }
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let conn = self.connection().await?;
        if let Some(after) = after {
            let found = invoice_query::find(&conn, after).await?;
            let is_listed = |invoice: &KnownInvoice| {
                let mut accounts = accounts.iter();
                invoice.created.is_some() && accounts.any(|one| one.as_str() == invoice.account)
            };
            if !found.as_ref().is_some_and(is_listed) {
                // A page behind nothing would be empty, and look like the last one.
                let message = "after is no invoice of this host's";
                return Err(CommandError::new("invalid_command", message).at("after"));
            }
        }
        // One more tells whether there are more.
        let mut found = booking_query::of_accounts(&conn, &accounts, after, limit + 1).await?;
        let has_more = found.len() > PAGE;
        found.truncate(PAGE);
        let next = found.last().filter(|_| has_more);
        Ok(json!({
            "stripeAccountId": last.as_ref().map(AccountId::as_str),
            "invoices": found.iter().map(shown).collect::<Vec<Value>>(),
            "next": next.map(|invoice| invoice.id.clone()),
        }))
    }
}
