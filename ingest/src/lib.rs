//! Receives Stripe's webhooks and answers each only when the broker has it.
//!
//! A request goes through [`server`], [`webhook`], [`signature`] and
//! [`publish`]. `docs/ARCHITECTURE.md` walks through with one event.

mod body;
pub mod config;
mod connection_limit;
pub mod limits;
mod metric_types;
pub mod metrics;
pub mod publish;
pub mod server;
pub mod signature;
mod traceparent;
pub mod webhook;

use config::Config;
use limits::Limits;
use metrics::Metrics;
use prometheus_client::registry::Registry;
use publish::{StartError, Supervisor};
use server::Server;
use shared::admin::Admin;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use webhook::Webhook;

/// The service's two listeners.
#[derive(Debug)]
pub struct Listeners {
    /// Where Stripe delivers.
    pub public: TcpListener,
    /// Health and metrics.
    pub admin: TcpListener,
}

/// Runs the service until `shutdown`: then it stops accepting, finishes what
/// is in flight and closes the broker's connection.
///
/// # Errors
/// The broker's topology differs from ours when it is first seen. A broker
/// that is away is no error: requests are answered 503 until it is back.
pub async fn run(
    config: Config,
    limits: Limits,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<(), StartError> {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, &config.secrets);
    let (supervisor, publisher) =
        Supervisor::new(config.amqp, config.names, limits.clone(), metrics.publish);
    let webhook = Arc::new(Webhook::new(
        config.secrets,
        config.mode,
        publisher,
        limits.clone(),
        metrics.webhook,
    ));
    let served = CancellationToken::new();
    let admin = tokio::spawn(
        admin(registry, Arc::clone(&webhook), shutdown.clone())
            .serve(listeners.admin, served.clone()),
    );
    // However the supervisor ends, nothing is served without it.
    let ended = shutdown.clone().drop_guard();
    let broker = tokio::spawn({
        let stop = served.clone();
        async move {
            let _ended = ended;
            supervisor.run(stop).await
        }
    });
    let server = Server::new(webhook, limits, metrics.server);
    server.serve(listeners.public, shutdown).await;
    served.cancel();
    let (broker, _admin) = tokio::join!(broker, admin);
    // A panic of the supervisor ends the process like any other.
    broker.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

fn admin(registry: Registry, webhook: Arc<Webhook>, shutdown: CancellationToken) -> Admin {
    Admin::new(registry, move || {
        let ready = if shutdown.is_cancelled() {
            Err("shutting down".into())
        } else {
            webhook.publisher().ready()
        };
        std::future::ready(ready)
    })
}
