//! The admin listener of both services: health, metrics and, where a service
//! has them, pages of its own. It is never on the public listener.

mod probe;
mod server;

pub use hyper::http;
pub use probe::{ProbeError, healthcheck};
pub use server::Admin;
