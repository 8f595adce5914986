//! What a test breaks.

use std::{sync::Arc, time::Duration};

use hyper::Method;
use tokio::sync::Semaphore;

/// What goes wrong with some requests.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The method of those requests; `None` where it may be any.
    pub method: Option<Method>,
    /// How their paths begin.
    pub path_prefix: String,
    /// What happens to them.
    pub kind: Kind,
    /// How many of them it happens to.
    pub times: usize,
    /// The header `Stripe-Should-Retry` of their answers.
    pub should_retry: Option<bool>,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Nothing but the header of [`Fault::should_retry`].
    Plain,
    /// It waits before it takes effect.
    Slow(Duration),
    /// It takes effect, and its answer waits.
    SlowAfter(Duration),
    /// It waits at a gate before it takes effect.
    HeldBefore(Gate),
    /// It takes effect, and its answer waits at a gate.
    HeldAfter(Gate),
    /// It waits at a gate and is lost there: it does not reach Stripe, and the connection is
    /// closed without an answer.
    HeldAndLost(Gate),
    /// It is answered with 500, which the first version of the API keeps under the
    /// idempotency key.
    Status500 {
        /// Whether it takes effect all the same.
        took_effect: bool,
    },
    /// It is answered with 500 before it gets as far as its idempotency key, which keeps
    /// nothing of it.
    Unkept500,
    /// It does not reach Stripe: something in between answers so.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: &'static str,
    },
    /// The connection is closed without an answer.
    Drop {
        /// Whether it takes effect all the same.
        took_effect: bool,
    },
    /// It is answered with 409, since somebody holds the object.
    Conflict409,
    /// It is answered with 429.
    RateLimited(RateLimit),
}

/// Why too many requests came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// `global-rate`.
    GlobalRate,
    /// `endpoint-rate`.
    EndpointRate,
    /// `global-concurrency`.
    GlobalConcurrency,
    /// `endpoint-concurrency`.
    EndpointConcurrency,
    /// `resource-specific`.
    ResourceSpecific,
    /// A lock on an object was not free in time: the answer names no reason.
    LockTimeout,
}

impl RateLimit {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::GlobalRate,
        Self::EndpointRate,
        Self::GlobalConcurrency,
        Self::EndpointConcurrency,
        Self::ResourceSpecific,
        Self::LockTimeout,
    ];

    /// The header `Stripe-Rate-Limited-Reason`.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::GlobalRate => Some("global-rate"),
            Self::EndpointRate => Some("endpoint-rate"),
            Self::GlobalConcurrency => Some("global-concurrency"),
            Self::EndpointConcurrency => Some("endpoint-concurrency"),
            Self::ResourceSpecific => Some("resource-specific"),
            Self::LockTimeout => None,
        }
    }
}

impl Fault {
    /// A fault of the next request with this method whose path begins so.
    #[must_use]
    pub fn new(method: Method, path_prefix: &str, kind: Kind) -> Self {
        Self {
            method: Some(method),
            path_prefix: path_prefix.to_owned(),
            kind,
            times: 1,
            should_retry: None,
        }
    }

    /// A fault of the next request, whatever it is.
    #[must_use]
    pub fn any(kind: Kind) -> Self {
        Self {
            method: None,
            path_prefix: String::new(),
            kind,
            times: 1,
            should_retry: None,
        }
    }

    /// A fault of the next POST.
    #[must_use]
    pub fn post(path_prefix: &str, kind: Kind) -> Self {
        Self::new(Method::POST, path_prefix, kind)
    }

    /// A fault of the next GET.
    #[must_use]
    pub fn get(path_prefix: &str, kind: Kind) -> Self {
        Self::new(Method::GET, path_prefix, kind)
    }

    /// The same for the next `times` requests.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// The same with the header `Stripe-Should-Retry`.
    #[must_use]
    pub fn should_retry(mut self, retry: bool) -> Self {
        self.should_retry = Some(retry);
        self
    }
}

/// The fault of this request, which is counted off.
pub(super) fn take(faults: &mut Vec<Fault>, method: &Method, path: &str) -> Option<Fault> {
    let at = faults.iter().position(|fault| {
        let is_method = fault.method.as_ref().is_none_or(|one| one == method);
        fault.times > 0 && is_method && path.starts_with(&fault.path_prefix)
    })?;
    faults[at].times -= 1;
    let fault = faults[at].clone();
    faults.retain(|fault| fault.times > 0);
    Some(fault)
}

/// Where a request waits until the test lets it go on. Copies are the same gate.
#[derive(Clone, Debug)]
pub struct Gate {
    arrived: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A gate that is shut.
    #[must_use]
    pub fn new() -> Self {
        Self {
            arrived: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    /// Waits until a request has come to the gate: one more at each call.
    ///
    /// # Panics
    /// Never: nobody closes this semaphore.
    pub async fn reached(&self) {
        let one = self.arrived.acquire().await;
        one.expect("nobody closes it").forget();
    }

    /// Lets one request through.
    pub fn release(&self) {
        self.open.add_permits(1);
    }

    /// Lets everything through from now on.
    pub fn release_all(&self) {
        self.open.close();
    }

    pub(super) async fn wait(&self) {
        self.arrived.add_permits(1);
        // A closed semaphore is an open gate.
        if let Ok(one) = self.open.acquire().await {
            one.forget();
        }
    }
}
