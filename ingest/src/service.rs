//! Starts and stops the parts of the service.

use crate::config::Config;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::publish::{StartError, Supervisor};
use crate::server::Server;
use crate::webhook::Webhook;
use prometheus_client::registry::Registry;
use shared::admin::Admin;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The service's two listeners.
#[derive(Debug)]
pub struct Listeners {
    /// Serves Stripe's deliveries.
    pub public: TcpListener,
    /// Serves health and metrics.
    pub admin: TcpListener,
}

/// Runs the service until `shutdown`. Then it stops accepting connections,
/// finishes the requests in progress and closes the broker connection.
///
/// # Errors
/// The broker's topology differs from the service's when the first connection is
/// made. A broker that cannot be reached is no error: requests are answered with
/// 503 until it is back.
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
    // Stops the admin listener and the supervisor after the last request.
    let served = CancellationToken::new();
    let admin = tokio::spawn(
        admin(registry, Arc::clone(&webhook), shutdown.clone())
            .serve(listeners.admin, served.clone()),
    );
    // If the supervisor ends, for whatever reason, the server must end too.
    let shutdown_on_drop = shutdown.clone().drop_guard();
    let broker = tokio::spawn({
        let stop = served.clone();
        async move {
            let _shutdown = shutdown_on_drop;
            supervisor.run(stop).await
        }
    });
    let server = Server::new(webhook, limits, metrics.server);
    server.serve(listeners.public, shutdown).await;
    served.cancel();
    let (broker, _admin) = tokio::join!(broker, admin);
    // A panic of the supervisor ends the process as any other panic does.
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
