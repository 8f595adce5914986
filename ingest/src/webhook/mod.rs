//! Handles one request, from its head to its response.

mod decision;
mod metrics;
mod response;

pub use decision::{Accepted, RefusalReason};
pub use metrics::WebhookMetrics;
pub use response::FixedResponse;

use crate::body::{self, BodyBudget, BudgetPermit};
use crate::limits::{Limits, MAX_BODY};
use crate::metric_types::GaugeGuard;
use crate::publish::{Outcome, Publisher};
use crate::signature::{self, Secrets, Verified};
use crate::traceparent;
use bytes::Bytes;
use decision::Decision;
use event::Mode;
use event::{Envelope, EventType};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{EXPECT, HeaderName};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use shared::clock;
use shared::message;

/// The only path that the service serves.
pub const PATH: &str = "/webhooks/stripe";

const SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");

/// The handler of all requests.
#[derive(Debug)]
pub struct Webhook {
    secrets: Secrets,
    mode: Mode,
    publisher: Publisher,
    limits: Limits,
    body_budget: BodyBudget,
    metrics: WebhookMetrics,
}

impl Webhook {
    /// Makes a handler that accepts events of `mode` whose signature matches one of
    /// `secrets`.
    #[must_use]
    pub fn new(
        secrets: Secrets,
        mode: Mode,
        publisher: Publisher,
        limits: Limits,
        metrics: WebhookMetrics,
    ) -> Self {
        Self {
            secrets,
            mode,
            publisher,
            body_budget: BodyBudget::new(&limits),
            limits,
            metrics,
        }
    }

    /// Returns the publisher that events go to.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Returns the metrics of requests.
    pub(crate) fn metrics(&self) -> &WebhookMetrics {
        &self.metrics
    }

    /// Handles one request.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let _in_progress = GaugeGuard::new(&self.metrics.in_flight);
        let decision = self.decide(request).await;
        self.metrics.count_decision(decision);
        if let Decision::Refused(reason) = decision {
            tracing::debug!(?reason, "refused");
        }
        decision.response().to_http()
    }

    async fn decide(&self, request: Request<Incoming>) -> Decision {
        let (head, body) = request.into_parts();
        if let Err(reason) = check_route(&head).and_then(|()| check_length(&body)) {
            // A client that waits for "100 Continue" has not sent its body.
            if !head.headers.contains_key(EXPECT) {
                body::discard(body).await;
            }
            return Decision::Refused(reason);
        }
        let body = match self.body_budget.read(body, self.limits.body).await {
            Ok(body) => body,
            Err(error) => return Decision::Refused(error.into()),
        };
        self.metrics.body_bytes.inc_by(body.bytes.len() as u64);
        let lines = head.headers.get_all(SIGNATURE).iter();
        let lines = lines.map(|line| line.as_bytes());
        let now = clock::now_unix_millis();
        match signature::verify(lines, body.bytes, now / 1000, &self.secrets) {
            Ok(verified) => self.publish(verified, body.permit, &head, now).await,
            Err(refusal) => Decision::Refused(RefusalReason::Signature(refusal)),
        }
    }

    /// Publishes an authentic event if it is of the served mode.
    async fn publish(
        &self,
        verified: Verified,
        permit: BudgetPermit,
        head: &Parts,
        now: i64,
    ) -> Decision {
        self.metrics.count_verified(verified.secret());
        // The envelope borrows from this body, and the publisher needs one of its own.
        // Cloning copies no bytes.
        let event = verified.clone();
        let envelope = match Envelope::read(verified.body()) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::warn!(%error, "an authentic body is not an event");
                return Decision::Refused(RefusalReason::NotAnEvent);
            }
        };
        if !self.mode.accepts(envelope.livemode) {
            tracing::debug!(event = ?envelope.id, "of the other mode");
            return Decision::Accepted(Accepted::OtherMode);
        }
        let traceparent = traceparent::from_headers(&head.headers);
        let properties = message::properties(&envelope, now, Some(&traceparent));
        let event_type = envelope.event_type.as_ref();
        let outcome = self
            .publisher
            .publish(event, event_type, properties, permit)
            .await;
        let decision = match outcome {
            Outcome::Confirmed => Decision::Accepted(Accepted::Published),
            Outcome::Returned if EventType::parse(event_type).is_none() => {
                Decision::Accepted(Accepted::Unrouted)
            }
            outcome => Decision::NotPublished(outcome),
        };
        log(&envelope, &traceparent, decision);
        decision
    }
}

fn check_route(head: &Parts) -> Result<(), RefusalReason> {
    if head.uri.path() != PATH {
        Err(RefusalReason::Path)
    } else if head.method != Method::POST {
        Err(RefusalReason::Method)
    } else {
        Ok(())
    }
}

/// Refuses a body that the request announces as too long, before it is read.
fn check_length(body: &Incoming) -> Result<(), RefusalReason> {
    match usize::try_from(body.size_hint().lower()) {
        Ok(announced) if announced <= MAX_BODY => Ok(()),
        Ok(_) | Err(_) => Err(RefusalReason::TooLarge),
    }
}

fn log(envelope: &Envelope<'_>, traceparent: &str, decision: Decision) {
    let (event, kind) = (&envelope.id, &envelope.event_type);
    let account = envelope.account.as_deref();
    match decision {
        Decision::NotPublished(outcome) => {
            tracing::warn!(
                ?event,
                r#type = ?kind,
                account,
                parent = traceparent,
                ?outcome,
                "not published"
            );
        }
        Decision::Accepted(accepted) => {
            tracing::debug!(
                ?event,
                r#type = ?kind,
                account,
                parent = traceparent,
                ?accepted,
                "accepted"
            );
        }
        Decision::Refused(_) => {}
    }
}
