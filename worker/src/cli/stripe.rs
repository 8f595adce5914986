//! Stripe's API, for commands of operators.

use shared::config::{ConfigError, Held};
use store::{Connection, Pool, api_read, outbox::Outbox};

use super::{context::Context, error::CliError};
use crate::{
    config::Config,
    jobs::read_accounts::ReadError,
    metrics::stripe::ApiMetrics,
    service,
    stripe::{
        accounts::ReadError as AccountError,
        client::Client,
        error::{ApiError, Refusal},
    },
};

/// Stripe's API, and where what it says is kept.
pub(super) struct Stripe {
    pub(super) client: Client,
    pub(super) pool: Pool,
    pub(super) outbox: Outbox,
}

impl Stripe {
    /// With the variables of the worker. Reads are counted as the worker's are.
    pub(super) async fn new(context: &Context<'_>, conn: &Connection) -> Result<Self, CliError> {
        const KEY: &str = "STRIPE_API_KEY";
        let config = Config::from_env(context.env)?;
        service::deployment::check_same(conn, &config).await??;
        let Some(api) = config.api else {
            let expected = "a secret or restricted key, sk_... or rk_...: what Stripe says of an \
                account is read from its API";
            return Err(ConfigError::new(KEY, Held::Nothing, expected).into());
        };
        let pool = context.database.pool();
        let client = Client::new(api, ApiMetrics::default(), Some(pool.clone()));
        Ok(Self {
            client: client
                .map_err(|error| ConfigError::new(KEY, Held::secret(""), error.to_string()))?,
            pool,
            outbox: config.outbox,
        })
    }

    /// How many reads Stripe's allowance has left beside those for commands.
    ///
    /// # Errors
    /// There are none.
    pub(super) async fn room(&self, conn: &Connection) -> Result<i64, CliError> {
        let reads = api_read::reads(conn).await?;
        match reads.room() {
            0 => Err(CliError::Stripe(format!(
                "Stripe's allowance for reads of 30 days is nearly used up ({} of {}); run the \
                 same command again when there is room",
                reads.sent, reads.allowed
            ))),
            room => Ok(room),
        }
    }
}

/// What a read failed of, in words.
pub(super) fn failed(error: ReadError) -> CliError {
    match error {
        ReadError::Database(error) => error.into(),
        ReadError::Client(AccountError::Api(error)) => api_failed(&error),
        ReadError::Client(error) => CliError::Stripe(error.to_string()),
    }
}

/// What a request failed of, in words.
pub(super) fn api_failed(error: &ApiError) -> CliError {
    CliError::Stripe(error.to_string())
}

/// Whether Stripe says that an account is not connected to the platform, or not there.
pub(super) fn is_not_ours(refusal: &Refusal) -> bool {
    refusal.has_code("account_invalid") || refusal.has_code("resource_missing")
}
