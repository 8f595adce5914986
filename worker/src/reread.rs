//! Settles accounts whose last snapshot events cannot tell, by asking Stripe.
//!
//! What Stripe says is kept only if, once it is this writer's turn, the same
//! snapshots are still the undecided ones: then it is newer than all of them,
//! and nothing was applied in between. So no lock is held while Stripe is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::DateTime;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use shared::{clock, telemetry::report};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    events::world::World,
    failure::Failure,
    metrics::Metrics,
    settle::Settler,
    store::{
        account,
        stored::{Bookings, Stored},
        transaction,
    },
    stripe_api::{Api, ApiError},
};

/// How often undecided accounts are looked for.
const EVERY: Duration = Duration::from_secs(1);
/// The pause after a refusal by Stripe.
const AFTER_REFUSAL: Duration = Duration::from_secs(30);

/// Why an account stays undecided.
#[derive(Debug, thiserror::Error)]
pub enum RereadError {
    /// The database.
    #[error("the database")]
    Database(#[from] Failure),
    /// Stripe.
    #[error("Stripe's API")]
    Api(#[from] ApiError),
}

/// Looks for undecided accounts until `stop`.
pub async fn run(settler: &Settler, api: &Api, metrics: &Metrics, stop: &CancellationToken) {
    let mut pause = EVERY;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        pause = match settle_all(settler, api, metrics).await {
            Ok(()) => EVERY,
            Err(error) => {
                warn!(reason = %report(&error), "an account stays undecided");
                AFTER_REFUSAL
            }
        };
    }
}

/// Settles every account that is undecided now.
///
/// # Errors
/// The first [`RereadError`]; the accounts after it were tried as well.
pub async fn settle_all(
    settler: &Settler,
    api: &Api,
    metrics: &Metrics,
) -> Result<(), RereadError> {
    let (mut after, mut first_error) = (String::new(), Ok(()));
    loop {
        let next = {
            let conn = settler.pool.get().await.map_err(Failure::from)?;
            account::undecided(&conn, &after)
                .await
                .map_err(Failure::from)?
        };
        let Some(id) = next else {
            return first_error;
        };
        match settle(settler, api, &id).await {
            Ok(()) => {
                metrics.rereads.inc();
                info!(account = id, "settled by Stripe's API");
            }
            Err(error) if first_error.is_ok() => first_error = Err(error),
            Err(_) => {}
        }
        after = id;
    }
}

async fn settle(settler: &Settler, api: &Api, id: &str) -> Result<(), RereadError> {
    let mut conn = settler.pool.get().await.map_err(Failure::from)?;
    let (before, _) = account_of(&conn, id).await?;
    let snapshot = api.account(id).await?;
    let written = conn
        .transaction(async |conn| {
            transaction::take_turn(conn).await?;
            let (mut world, stored) = account_of(conn, id).await?;
            world.settle_account(id, &before, snapshot);
            let now = DateTime::from_timestamp_millis(clock::now_unix_millis()).unwrap_or_default();
            stored
                .write(conn, &world, &BTreeMap::new(), &BTreeSet::new(), now)
                .await?;
            Ok::<_, Failure>(())
        })
        .await;
    Ok(written?)
}

async fn account_of(conn: &AsyncPgConnection, id: &str) -> Result<(World, Stored), Failure> {
    let no_bookings = Bookings {
        are_here: false,
        owner_query: None,
    };
    let (mut world, mut stored) = (World::of_account(id), Stored::default());
    stored.fill(conn, &mut world, no_bookings).await?;
    Ok((world, stored))
}
