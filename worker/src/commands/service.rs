//! Does commands.

use serde_json::Value;
use store::{Connection, Pool};

use super::{
    command::{Command, Name},
    error::CommandError,
};
use crate::{config::commands::CommandSettings, stripe::client::Client};

/// What commands are done with.
#[derive(Clone, Debug)]
pub struct CommandService {
    /// Connections to the database that no event needs.
    pub pool: Pool,
    /// Stripe's API; `None` without a key, and every command is refused then.
    pub client: Option<Client>,
    /// What the deployment sets.
    pub settings: CommandSettings,
}

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
        }
    }

    fn client(&self) -> Result<&Client, CommandError> {
        self.client
            .as_ref()
            .ok_or_else(CommandError::not_configured)
    }

    /// A connection. It is not kept while Stripe is asked.
    pub(super) async fn connection(
        &self,
    ) -> Result<impl std::ops::Deref<Target = Connection> + '_, CommandError> {
        let connection = self.pool.get().await;
        connection.map_err(|error| store::Error::from(error).into())
    }
}
