//! Which request does what.

use hyper::StatusCode;
use serde_json::Value;

use super::{
    accounts, checkout,
    errors::{ApiError, INVALID_REQUEST},
    events, links, payments,
    state::State,
    tax,
};

/// What a request works on.
pub(super) struct Work<'a> {
    pub(super) state: &'a mut State,
    /// The account whose objects it is about; empty for the platform's.
    pub(super) scope: String,
    /// The id in the path.
    pub(super) id: String,
    pub(super) params: Value,
    pub(super) path: &'a str,
}

impl Work<'_> {
    /// A parameter that is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.params.get(name)?.as_str()
    }
}

/// Carries a request out.
pub(super) type Handler = fn(&mut Work<'_>) -> Result<Value, ApiError>;

/// A kind of request.
pub(super) struct Route {
    /// The method and the path, such as `POST /v1/accounts/{id}`.
    pub(super) name: &'static str,
    /// What a restricted key must be allowed.
    pub(super) resource: &'static str,
    /// Whether the objects belong to the account that the request names.
    pub(super) scoped: bool,
    pub(super) handler: Handler,
}

const fn platform(name: &'static str, resource: &'static str, handler: Handler) -> Route {
    Route {
        name,
        resource,
        scoped: false,
        handler,
    }
}

const fn scoped(name: &'static str, resource: &'static str, handler: Handler) -> Route {
    Route {
        name,
        resource,
        scoped: true,
        handler,
    }
}

/// All requests that the stand-in knows.
pub(super) const ROUTES: &[Route] = &[
    platform("POST /v1/accounts", "accounts", accounts::v1::create),
    platform("GET /v1/accounts", "accounts", accounts::v1::list),
    platform("GET /v1/accounts/{id}", "accounts", accounts::v1::retrieve),
    platform("POST /v1/accounts/{id}", "accounts", accounts::v1::update),
    platform(
        "POST /v1/accounts/{id}/login_links",
        "login_links",
        links::login,
    ),
    platform("POST /v1/account_links", "account_links", links::v1),
    platform(
        "POST /v1/account_sessions",
        "account_sessions",
        links::session,
    ),
    platform("POST /v2/core/accounts", "accounts", accounts::v2::create),
    platform("GET /v2/core/accounts", "accounts", accounts::v2::list),
    platform(
        "GET /v2/core/accounts/{id}",
        "accounts",
        accounts::v2::retrieve,
    ),
    platform("POST /v2/core/account_links", "account_links", links::v2),
    scoped("GET /v1/tax/settings", "tax", tax::settings),
    scoped("GET /v1/tax/registrations", "tax", tax::registrations),
    scoped("GET /v1/tax_ids", "tax_ids", tax::ids),
    scoped("GET /v1/events", "events", events::list),
    scoped("GET /v1/events/{id}", "events", events::retrieve),
    platform("GET /v2/core/events/{id}", "events", events::retrieve_thin),
    scoped(
        "POST /v1/checkout/sessions",
        "checkout_sessions",
        checkout::create,
    ),
    scoped(
        "GET /v1/checkout/sessions",
        "checkout_sessions",
        checkout::list,
    ),
    scoped(
        "GET /v1/checkout/sessions/{id}",
        "checkout_sessions",
        checkout::retrieve,
    ),
    scoped(
        "POST /v1/checkout/sessions/{id}",
        "checkout_sessions",
        checkout::update,
    ),
    scoped(
        "POST /v1/checkout/sessions/{id}/expire",
        "checkout_sessions",
        checkout::expire,
    ),
    scoped("GET /v1/invoices", "invoices", payments::invoices::list),
    scoped(
        "GET /v1/invoices/{id}",
        "invoices",
        payments::invoices::retrieve,
    ),
    scoped(
        "GET /v1/payment_intents/{id}",
        "payments",
        payments::retrieve_intent,
    ),
    scoped(
        "GET /v1/charges/{id}",
        "payments",
        payments::retrieve_charge,
    ),
    scoped("POST /v1/refunds", "refunds", payments::refunds::create),
    scoped(
        "GET /v1/refunds/{id}",
        "refunds",
        payments::refunds::retrieve,
    ),
    scoped(
        "POST /v1/credit_notes",
        "credit_notes",
        payments::credit_notes::create,
    ),
    scoped(
        "GET /v1/credit_notes",
        "credit_notes",
        payments::credit_notes::list,
    ),
    scoped(
        "GET /v1/credit_notes/{id}",
        "credit_notes",
        payments::credit_notes::retrieve,
    ),
    scoped(
        "POST /v1/credit_notes/{id}/void",
        "credit_notes",
        payments::credit_notes::void,
    ),
];

/// The kind of a request, with the id in its path.
pub(super) fn find(method: &str, path: &str) -> Result<(&'static Route, String), ApiError> {
    let found = ROUTES.iter().find_map(|route| {
        let (other, pattern) = route.name.split_once(' ')?;
        (other == method).then_some(())?;
        Some((route, id_of(pattern, path)?))
    });
    found.ok_or_else(|| {
        let message = format!("Unrecognized request URL ({method}: {path}).");
        ApiError::new(StatusCode::NOT_FOUND, INVALID_REQUEST, message)
    })
}

/// The id in a path that has the form of the pattern; empty where it has none.
fn id_of(pattern: &str, path: &str) -> Option<String> {
    let mut id = String::new();
    let mut parts = path.split('/');
    for wanted in pattern.split('/') {
        let part = parts.next()?;
        if wanted == "{id}" && !part.is_empty() {
            id = part.to_owned();
        } else if wanted != part {
            return None;
        }
    }
    parts.next().is_none().then_some(id)
}
