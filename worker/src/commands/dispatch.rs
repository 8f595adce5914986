//! Gives each command to its handler.

use serde_json::Value;

use super::{
    command::{Command, Name},
    error::CommandError,
    service::CommandService,
};

impl CommandService {
    /// Reads a command and does it.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn run(&self, name: Name, data: Value) -> Result<Value, CommandError> {
        let client = self.client()?;
        match Command::read(name, data)? {
            Command::HostOnboard(onboard) => self.onboard(client, &onboard).await,
            Command::HostSession { host, components } => {
                self.session(client, &host, &components).await
            }
            Command::HostDashboard { host } => self.dashboard(client, &host).await,
            Command::HostStatus { host } => self.status(&host).await,
            Command::HostInvoicing { host } => self.invoicing(client, &host).await,
            Command::HostInvoices { host, after } => self.invoices(&host, after.as_deref()).await,
            Command::BookingCheckout(checkout) => self.checkout(client, &checkout).await,
            Command::BookingCancel { booking } => self.cancel(client, booking).await,
            Command::BookingInvoice { booking } => self.booking_invoice(booking).await,
        }
    }
}
