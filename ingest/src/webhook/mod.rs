//! One request, top to bottom.

mod answer;

pub use answer::{Answer, Refused};

use crate::body::{self, BodyBudget, BodyError, BudgetPermit};
use crate::limits::{Limits, MAX_BODY};
use crate::metrics::{Accepted, Metrics};
use crate::publish::{Outcome, Publisher};
use crate::signature::{self, Secrets, Verified};
use crate::traceparent;
use answer::Verdict;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{EXPECT, HeaderName};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use shared::clock;
use shared::envelope::Envelope;
use shared::message;
use shared::mode::Mode;
use shared::topology::is_handled;
use std::sync::Arc;

/// The one path there is.
pub const PATH: &str = "/webhooks/stripe";

const SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");

/// What every request needs.
#[derive(Debug)]
pub struct Webhook {
    secrets: Secrets,
    mode: Mode,
    publisher: Publisher,
    limits: Limits,
    body_budget: BodyBudget,
    metrics: Arc<Metrics>,
}

impl Webhook {
    /// Takes events of `mode` that are signed with one of `secrets`.
    #[must_use]
    pub fn new(
        secrets: Secrets,
        mode: Mode,
        publisher: Publisher,
        limits: Limits,
        metrics: Arc<Metrics>,
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

    /// The publisher that events go to.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let _in_flight = self.publisher.count();
        let verdict = self.judge(request).await;
        self.metrics.answers.inc(verdict.answer());
        match verdict {
            Verdict::Accepted(accepted) => self.metrics.accepted.inc(accepted),
            Verdict::Refused(refused) => {
                tracing::debug!(reason = ?refused, "refused");
                self.metrics.refused.inc(refused);
            }
            // Counted with the publishes, logged with the event.
            Verdict::NotPublished(_) => {}
        }
        verdict.answer().response()
    }

    async fn judge(&self, request: Request<Incoming>) -> Verdict {
        let (head, body) = request.into_parts();
        if let Err(refused) = route(&head).and_then(|()| fits(&body)) {
            // A client that waits for "100 Continue" sends nothing yet.
            if !head.headers.contains_key(EXPECT) {
                body::discard(body).await;
            }
            return Verdict::Refused(refused);
        }
        let body = match self.body_budget.read(body, self.limits.body).await {
            Ok(body) => body,
            Err(error) => return Verdict::Refused(error.into()),
        };
        self.metrics.body_bytes.inc_by(body.bytes.len() as u64);
        let lines = head.headers.get_all(SIGNATURE).iter();
        let lines = lines.map(|line| line.as_bytes());
        let now = clock::now_unix_millis();
        match signature::verify(lines, body.bytes, now / 1000, &self.secrets) {
            Ok(verified) => self.receive(verified, body.permit, &head, now).await,
            Err(refusal) => Verdict::Refused(Refused::Signature(refusal)),
        }
    }

    /// Publishes an authentic event, where it is for us.
    async fn receive(
        &self,
        verified: Verified,
        permit: BudgetPermit,
        head: &Parts,
        now: i64,
    ) -> Verdict {
        self.metrics.verified(verified.secret());
        let published = verified.clone();
        let envelope = match Envelope::read(verified.body()) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::warn!(%error, "an authentic body is not an event");
                return Verdict::Refused(Refused::NotAnEvent);
            }
        };
        if !self.mode.accepts(envelope.livemode) {
            tracing::debug!(event = ?envelope.id, "of the other mode");
            return Verdict::Accepted(Accepted::OtherMode);
        }
        let traceparent = traceparent::from_headers(&head.headers);
        let properties = message::properties(&envelope, now, Some(&traceparent));
        let event_type = envelope.event_type.as_ref();
        let outcome = self
            .publisher
            .publish(published, event_type, properties, permit)
            .await;
        let verdict = match outcome {
            Outcome::Confirmed => Verdict::Accepted(Accepted::Published),
            Outcome::Returned if !is_handled(event_type) => Verdict::Accepted(Accepted::Unwanted),
            outcome => Verdict::NotPublished(outcome),
        };
        log(&envelope, &traceparent, verdict);
        verdict
    }
}

fn route(head: &Parts) -> Result<(), Refused> {
    if head.uri.path() != PATH {
        Err(Refused::Path)
    } else if head.method != Method::POST {
        Err(Refused::Method)
    } else {
        Ok(())
    }
}

/// Refuses a body that is announced as too long before it is sent.
fn fits(body: &Incoming) -> Result<(), Refused> {
    match usize::try_from(body.size_hint().lower()) {
        Ok(announced) if announced <= MAX_BODY => Ok(()),
        Ok(_) | Err(_) => Err(Refused::TooLarge),
    }
}

fn log(envelope: &Envelope<'_>, traceparent: &str, verdict: Verdict) {
    let (event, kind) = (&envelope.id, &envelope.event_type);
    let account = envelope.account.as_deref();
    match verdict {
        Verdict::NotPublished(outcome) => {
            tracing::warn!(
                ?event,
                r#type = ?kind,
                account,
                parent = traceparent,
                ?outcome,
                "not published"
            );
        }
        Verdict::Accepted(accepted) => {
            tracing::debug!(
                ?event,
                r#type = ?kind,
                account,
                parent = traceparent,
                ?accepted,
                "accepted"
            );
        }
        Verdict::Refused(_) => {}
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::TooSlow => Self::TooSlow,
            BodyError::Broken => Self::Broken,
            BodyError::OverBudget => Self::OverBudget,
        }
    }
}
