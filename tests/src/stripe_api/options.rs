//! How a stand-in is set up.

use crate::stripe::ApiVersion;

/// What a stand-in accepts and in which shape it tells of changes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The secret key, which may do everything.
    pub secret_key: String,
    /// Keys that may do some of it only.
    pub restricted_keys: Vec<RestrictedKey>,
    /// Whether the platform has access to the second version of accounts.
    pub v2_enabled: bool,
    /// `livemode` of all objects; redirects must be `https` then.
    pub livemode: bool,
    /// The version that the webhook endpoint has: the shape of events' objects.
    pub webhook_version: ApiVersion,
    /// Whether thin events say whose they are in `context`. A destination for the
    /// events of "your account" leaves it out.
    pub thin_context: bool,
    /// Whether snapshot events about accounts are made.
    pub snapshot_events: bool,
    /// Whether thin events are made for accounts of the second version.
    pub thin_events: bool,
}

impl Default for Options {
    /// A sandbox with both versions of accounts and the newest webhook version.
    fn default() -> Self {
        Self {
            secret_key: "sk_test_standin".to_owned(),
            restricted_keys: Vec::new(),
            v2_enabled: true,
            livemode: false,
            webhook_version: ApiVersion::NEWEST,
            thin_context: false,
            snapshot_events: true,
            thin_events: true,
        }
    }
}

/// A key that may use some resources.
#[derive(Clone, Debug)]
pub struct RestrictedKey {
    /// The key, such as `rk_test_1`.
    pub key: String,
    /// What it may do: a resource with `_read` or `_write`, such as
    /// `accounts_write`. Who may write may read. The resources are `accounts`,
    /// `account_links`, `account_sessions`, `login_links`, `tax`, `tax_ids`,
    /// `events`, `checkout_sessions`, `invoices`, `payments`, `refunds` and
    /// `credit_notes`.
    pub permissions: Vec<String>,
}

impl RestrictedKey {
    /// A key with these permissions.
    #[must_use]
    pub fn new(key: &str, permissions: &[&str]) -> Self {
        Self {
            key: key.to_owned(),
            permissions: permissions.iter().map(|&one| one.to_owned()).collect(),
        }
    }

    /// Whether it may read or write this resource.
    pub(super) fn may(&self, resource: &str, write: bool) -> bool {
        let has = |right: &str| {
            let wanted = format!("{resource}_{right}");
            self.permissions.contains(&wanted)
        };
        has("write") || (!write && has("read"))
    }
}
