//! What the deployment sets for commands.

use domain::{price::Share, text_enum};
use shared::config::{ConfigError, Env};
use url::{Origin, Url};

use crate::stripe::call::ApiFamily;

text_enum! {
    /// By which of Stripe's APIs accounts are made.
    pub enum AccountsApi {
        /// `POST /v2/core/accounts`.
        V2 = "v2",
        /// `POST /v1/accounts`, with `controller`.
        V1 = "v1",
        /// `POST /v1/accounts`, with `type`: express, standard or custom.
        V1Type = "v1-type",
    }
}

text_enum! {
    /// Who bears fees or losses of an account.
    pub enum Bearer {
        /// Stripe collects fees from the host, or bears the losses.
        Stripe = "stripe",
        /// The platform pays the fees, or bears the losses.
        Application = "application",
    }
}

text_enum! {
    /// What counts of accounts that name a host in their metadata and that no command made.
    pub enum HostMetadata {
        /// An operator has to say whether such an account is the host's.
        Confirm = "confirm",
        /// They count for nothing.
        Ignore = "ignore",
    }
}

/// What the deployment sets for commands.
#[derive(Clone, Debug)]
pub struct CommandSettings {
    /// By which API accounts are made.
    pub accounts_api: AccountsApi,
    /// Who collects Stripe's fees; `None` for what fits the dashboard.
    pub fees: Option<Bearer>,
    /// Who bears the losses; `None` for what fits the dashboard.
    pub losses: Option<Bearer>,
    /// What counts of accounts that only name a host.
    pub host_metadata: HostMetadata,
    /// The origins that redirect addresses may have.
    pub origins: Origins,
    /// Whether invoices have automatic tax.
    pub automatic_tax: bool,
    /// The platform's share of what a guest pays.
    pub fee: Share,
    /// Whether a guest may pay in another currency than the booking's.
    pub adaptive_pricing: bool,
}

impl Default for CommandSettings {
    fn default() -> Self {
        Self {
            accounts_api: AccountsApi::V2,
            fees: None,
            losses: None,
            host_metadata: HostMetadata::Confirm,
            origins: Origins::default(),
            automatic_tax: false,
            fee: Share::TENTH,
            adaptive_pricing: false,
        }
    }
}

impl CommandSettings {
    /// Reads the variables.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        const ORIGINS: &str = "origins with commas between them, such as https://app.example.com";
        let bearer = |name| env.parsed(name, "stripe or application", Bearer::parse);
        let api = env.parsed(
            "STRIPE_ACCOUNTS_API",
            "v2, v1 or v1-type",
            AccountsApi::parse,
        )?;
        let host_metadata =
            env.parsed("HOST_METADATA", "confirm or ignore", HostMetadata::parse)?;
        let flag = |name| {
            env.parsed(name, "yes or no", |value| match value {
                "yes" => Some(true),
                "no" => Some(false),
                _ => None,
            })
        };
        let fee = env.parsed(
            "APPLICATION_FEE_PERCENT",
            "a percentage from 0 to 100, such as 10 or 12.5",
            Share::percent,
        )?;
        Ok(Self {
            accounts_api: api.unwrap_or(AccountsApi::V2),
            fees: bearer("HOST_FEES_COLLECTOR")?,
            losses: bearer("HOST_LOSSES_COLLECTOR")?,
            host_metadata: host_metadata.unwrap_or(HostMetadata::Confirm),
            origins: env
                .parsed("REDIRECT_ORIGINS", ORIGINS, Origins::parse)?
                .unwrap_or_default(),
            automatic_tax: flag("AUTOMATIC_TAX")?.unwrap_or(false),
            fee: fee.unwrap_or(Share::TENTH),
            adaptive_pricing: flag("ADAPTIVE_PRICING")?.unwrap_or(false),
        })
    }
}

/// The origins that redirect addresses may have, such as `https://app.example.com`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<Origin>);

impl AccountsApi {
    /// The API.
    pub fn family(self) -> ApiFamily {
        match self {
            Self::V2 => ApiFamily::V2,
            Self::V1 | Self::V1Type => ApiFamily::V1,
        }
    }
}

impl Origins {
    /// Reads a list with commas; `None` where one is no origin.
    pub fn parse(list: &str) -> Option<Self> {
        let origins = list.split(',').map(|one| {
            let one = one.trim();
            let origin = Url::parse(one).ok()?.origin();
            // Nothing but the origin, so that nobody believes that a path counts.
            (origin.is_tuple() && origin.ascii_serialization() == one.trim_end_matches('/'))
                .then_some(origin)
        });
        origins.collect::<Option<Vec<_>>>().map(Self)
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address has one of them. What readers of addresses take differently is
    /// refused: a user, a backslash, spaces and control characters, another number of slashes
    /// than two behind the scheme, and schemes such as `blob` that hold another address.
    pub fn allow(&self, address: &str) -> bool {
        let is_plain = |char: char| !char.is_whitespace() && !char.is_control() && char != '\\';
        let behind_scheme = address.split_once(':').map(|(_, rest)| rest);
        let behind_slashes = behind_scheme.and_then(|rest| rest.strip_prefix("//"));
        address.chars().all(is_plain)
            && behind_slashes.is_some_and(|rest| !rest.starts_with('/'))
            && Url::parse(address).is_ok_and(|url| {
                let origin = url.origin();
                let is_its_own = match &origin {
                    Origin::Tuple(scheme, ..) => scheme == url.scheme(),
                    Origin::Opaque(_) => false,
                };
                let has_user = !url.username().is_empty() || url.password().is_some();
                is_its_own && !has_user && self.0.contains(&origin)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_allowed_by_its_origin_alone() {
        let origins = Origins::parse("https://app.example.com, http://localhost:3000/").unwrap();
        for allowed in [
            "https://app.example.com/back?x=1",
            "https://app.example.com:443/",
            // Letters of a scheme and a host have no case.
            "HTTPS://App.Example.COM/Back",
            "http://localhost:3000",
        ] {
            assert!(origins.allow(allowed), "{allowed}");
        }
        for refused in [
            "http://app.example.com/",
            "https://app.example.com.evil.example/",
            "https://app.example.com@evil.example/",
            "https://user@app.example.com/",
            "https://evil.example/?https://app.example.com",
            "http://localhost:3001/",
            "//app.example.com",
            "https:app.example.com/x",
            "https:/app.example.com/x",
            "https:///app.example.com/x",
            "javascript:alert(1)",
            "blob:https://app.example.com/1",
            "filesystem:https://app.example.com/1",
            "https:\\\\app.example.com/",
            "https://app.example.com\\@evil.example/",
            "https://app.example.com/\tx",
            "ht\ntps://app.example.com/",
            " https://app.example.com/",
            "https://app.example.com/\u{a0}",
            "",
        ] {
            assert!(!origins.allow(refused), "{refused}");
        }
        assert!(!Origins::default().allow("https://app.example.com/"));
    }

    #[test]
    fn only_origins_are_origins() {
        for wrong in [
            "app.example.com",
            "https://a.example/path",
            "*",
            "",
            "data:x",
            "https://a,,",
        ] {
            assert_eq!(Origins::parse(wrong), None, "{wrong}");
        }
    }
}
