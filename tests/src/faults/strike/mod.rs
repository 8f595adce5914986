//! How each thing is broken and mended.

pub(super) mod broker;
mod cluster;
pub(super) mod database;
pub(super) mod main_app;
pub(super) mod services;
pub(super) mod wire;
