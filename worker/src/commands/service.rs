//! What commands are done with.

use store::{Connection, Pool};
use tokio::time::Instant;

use super::{error::CommandError, telling::Telling};
use crate::{
    config::commands::CommandSettings, pipeline::delivery::Decoder, stripe::client::Client,
};

/// What commands are done with.
#[derive(Clone, Debug)]
pub struct CommandService {
    /// Connections to the database that no event needs.
    pub pool: Pool,
    /// Stripe's API; `None` without a key, and every command is refused then.
    pub client: Option<Client>,
    /// What the deployment sets.
    pub settings: CommandSettings,
    /// The deployment's query for a booking's account.
    pub owner_query: Option<String>,
    /// Takes in what Stripe said of what commands made.
    pub telling: Telling,
    /// How that is decoded.
    pub decoder: Decoder,
    /// Whether the command was delivered before: a worker may have died of it or with it.
    pub is_redelivered: bool,
}

impl CommandService {
    /// The same for a command that somebody waits for until `deadline`: nothing is begun at
    /// Stripe after it.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self {
            client: self.client.as_ref().map(|client| client.until(deadline)),
            ..self.clone()
        }
    }

    pub(super) fn client(&self) -> Result<&Client, CommandError> {
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

    /// Whether Stripe may send people to these addresses, each with the field that it is of.
    pub(super) fn check_redirects(
        &self,
        addresses: &[(&'static str, &str)],
    ) -> Result<(), CommandError> {
        let origins = &self.settings.origins;
        if origins.is_empty() {
            return Err(CommandError::new(
                "not_configured",
                "redirect addresses need REDIRECT_ORIGINS, which the worker does not have",
            ));
        }
        let refused = addresses
            .iter()
            .find(|(_, address)| !origins.allow(address));
        match refused {
            None => Ok(()),
            Some((field, _)) => Err(CommandError::new(
                "redirect_refused",
                format!("{field} has an origin that REDIRECT_ORIGINS does not list"),
            )
            .at(*field)),
        }
    }
}
