//! From a request to its answer: rights, parameters, idempotency, faults, effect.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode, body::Incoming};
use serde_json::Value;
use tokio::sync::Notify;

use super::{
    call::Call,
    errors::ApiError,
    faults::{self, Fault, Kind},
    idempotency::{Kept, Key},
    options::Options,
    respond::{Answer, internal, locked, rate_limited, response},
    rights,
    routes::{self, Route, Work},
    state::{PLATFORM, State},
    versions,
};
use crate::stripe::ApiVersion;

/// What the server and the test share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    state: Mutex<State>,
    /// Told of each request that arrived and of each answer.
    pub(super) changed: Notify,
    /// Whether events are under way that wait no more.
    pub(super) delivering: AtomicBool,
}

impl Shared {
    pub(super) fn new(options: Options) -> Self {
        Self {
            state: Mutex::new(State::new(options.clone())),
            options,
            changed: Notify::new(),
            delivering: AtomicBool::new(false),
        }
    }

    /// The state. A test that panicked with it in hand has failed already.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection is closed without an answer.
#[derive(Debug)]
pub(super) struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the stand-in closes the connection")
    }
}

impl std::error::Error for Closed {}

/// A request that was found right.
struct Ready {
    route: &'static Route,
    id: String,
    scope: String,
    params: Value,
    key: Option<Key>,
}

/// Answers a request.
pub(super) async fn answer(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Closed> {
    let request_id = shared.state().new_id("req");
    let call = Call::read(request, request_id).await.map_err(|_| Closed)?;
    let fault = {
        let mut state = shared.state();
        state.requests.push(call.record());
        faults::take(&mut state.faults, &call.method, &call.path)
    };
    shared.changed.notify_waiters();
    let answer = carry_out(&shared, &call, fault.as_ref()).await;
    if let Some(answer) = &answer {
        shared.state().note(&call.request_id, |recorded| {
            recorded.status = Some(answer.status.as_u16());
            recorded.replayed = answer.replayed.is_some();
        });
    }
    shared.changed.notify_waiters();
    let retry = fault.and_then(|fault| fault.should_retry);
    answer
        .map(|answer| response(&call, answer, retry))
        .ok_or(Closed)
}

/// The answer; none where the connection is to be closed.
async fn carry_out(shared: &Shared, call: &Call, fault: Option<&Fault>) -> Option<Answer> {
    let kind = fault.map_or(&Kind::Plain, |fault| &fault.kind);
    match kind {
        Kind::RateLimited(limit) => return Some(rate_limited(call, *limit)),
        Kind::Conflict409 => return Some(Answer::refused(&locked(StatusCode::CONFLICT), call)),
        Kind::Unkept500 => return Some(internal(call)),
        Kind::Answered { status, body } => {
            let status = StatusCode::from_u16(*status).expect("a test gives a status");
            return Some(Answer {
                text: Some(body),
                ..Answer::plain(status, Value::Null)
            });
        }
        Kind::Drop { took_effect: false } => return None,
        Kind::HeldAndLost(gate) => {
            gate.wait().await;
            return None;
        }
        _ => {}
    }
    let ready = match begin(shared, call) {
        Ok(Begun::New(ready)) => ready,
        Ok(Begun::Before(kept)) => {
            return Some(Answer {
                replayed: Some(kept.request_id),
                ..Answer::plain(kept.status, kept.body)
            });
        }
        Err(error) => return Some(Answer::refused(&error, call)),
    };
    match kind {
        Kind::Slow(time) => tokio::time::sleep(*time).await,
        Kind::HeldBefore(gate) => gate.wait().await,
        _ => {}
    }
    let failed = internal(call);
    let answer = match kind {
        Kind::Status500 { took_effect: false } => {
            end(shared, call, &ready, (!call.v2).then_some(&failed));
            return Some(failed);
        }
        _ => effect(shared, call, &ready),
    };
    if let Kind::Status500 { .. } = kind {
        // The second version gives the state of what was done when the request comes
        // again; the first one gives the error again.
        let done = answer.1.then_some(&answer.0);
        let kept = if call.v2 { done } else { Some(&failed) };
        end(shared, call, &ready, kept);
        return Some(failed);
    }
    let stored = answer.1.then_some(&answer.0);
    match kind {
        Kind::SlowAfter(time) => tokio::time::sleep(*time).await,
        Kind::HeldAfter(gate) => gate.wait().await,
        _ => {}
    }
    end(shared, call, &ready, stored);
    (!matches!(kind, Kind::Drop { .. })).then_some(answer.0)
}

enum Begun {
    New(Ready),
    Before(Kept),
}

/// Checks a request, and notes under its key that it runs.
fn begin(shared: &Shared, call: &Call) -> Result<Begun, ApiError> {
    rights::authenticate(&shared.options, call)?;
    let (route, id) = routes::find(call.method.as_str(), &call.path)?;
    rights::allow(&shared.options, call, route)?;
    check_version(call)?;
    let mut state = shared.state();
    let scope = rights::scope(&state, call, route)?;
    let params = call.params(route.name)?;
    state.note(&call.request_id, |recorded| {
        recorded.params = params.clone();
    });
    let key = call.idempotency_key.clone().filter(|_| call.is_post());
    let account = call.account().unwrap_or(PLATFORM).to_owned();
    let key = key.map(|key| (account, call.v2, key));
    if let Some(key) = &key {
        let request = format!("{} {} {params}", call.method, call.path);
        if let Some(kept) = state.keys.begin(key, &request)? {
            return Ok(Begun::Before(kept));
        }
    }
    Ok(Begun::New(Ready {
        route,
        id,
        scope,
        params,
        key,
    }))
}

/// Refuses a version that is none. The second version of the API wants one.
fn check_version(call: &Call) -> Result<(), ApiError> {
    let Some(version) = call.stripe_version.as_deref() else {
        if call.v2 {
            let message = "Please provide an API version in the Stripe-Version header.";
            return Err(ApiError::invalid(message).code("missing_stripe_version"));
        }
        return Ok(());
    };
    let date = version.split('.').next().unwrap_or_default().as_bytes();
    let is_date = date.len() == 10
        && date.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if is_date {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "Invalid Stripe API version: {version}"
    )))
}

/// Carries the request out. The flag says whether its key keeps the answer.
fn effect(shared: &Shared, call: &Call, ready: &Ready) -> (Answer, bool) {
    let mut state = shared.state();
    state.cause = Some((call.request_id.clone(), call.idempotency_key.clone()));
    let mut work = Work {
        state: &mut state,
        scope: ready.scope.clone(),
        id: ready.id.clone(),
        params: ready.params.clone(),
        path: &call.path,
    };
    let done = (ready.route.handler)(&mut work);
    state.cause = None;
    match done {
        Ok(mut body) => {
            let paths = ready.params["expand"].as_array().cloned();
            let paths = paths.unwrap_or_default();
            let paths: Vec<&str> = paths.iter().filter_map(Value::as_str).collect();
            for path in &paths {
                state.expand(&ready.scope, &mut body, path);
            }
            if !call.v2 {
                let payments = paths.iter().any(|path| path.ends_with("payments"));
                body = versions::in_version(&body, version(call), payments);
            }
            (Answer::plain(StatusCode::OK, body), true)
        }
        Err(error) => (Answer::refused(&error, call), error.begun && !call.v2),
    }
}

fn end(shared: &Shared, call: &Call, ready: &Ready, answer: Option<&Answer>) {
    let Some(key) = &ready.key else {
        return;
    };
    let kept = answer.map(|answer| Kept {
        status: answer.status,
        body: answer.body.clone(),
        request_id: call.request_id.clone(),
    });
    shared.state().keys.end(key, kept);
}

/// The version that the request asks for, where it is one whose shape is known.
fn version(call: &Call) -> ApiVersion {
    let wanted = call.stripe_version.as_deref();
    let known = ApiVersion::ALL
        .into_iter()
        .find(|one| Some(one.name()) == wanted);
    known.unwrap_or(ApiVersion::NEWEST)
}

/// How long the server waits after a failed accept.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
