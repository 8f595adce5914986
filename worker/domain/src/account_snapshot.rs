//! The part of Stripe's account object that the worker keeps.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    decode::{self, MAX_ID, MAX_METADATA, MAX_TEXT},
    rejection::Rejection,
};

/// The longest list of requirements that is kept. Stripe lists some dozens.
const MAX_REQUIREMENTS: usize = 1000;

/// What is kept of an account: no name, no address, no bank.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountSnapshot {
    /// `standard`, `express`, `custom` or `none`.
    #[serde(rename = "type")]
    pub account_type: Option<String>,
    /// `charges_enabled`.
    pub charges_enabled: bool,
    /// `payouts_enabled`.
    pub payouts_enabled: bool,
    /// `details_submitted`.
    pub details_submitted: bool,
    /// The status of the capability `card_payments`.
    pub card_payments: Option<String>,
    /// The status of the capability `legacy_payments`, which old accounts have in place
    /// of `card_payments`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legacy_payments: Option<String>,
    /// `requirements`.
    pub requirements: Requirements,
    /// `future_requirements.currently_due`.
    pub future_currently_due: Vec<String>,
    /// `future_requirements.current_deadline`, in Unix seconds.
    pub future_deadline: Option<i64>,
    /// The account's country.
    pub country: Option<String>,
    /// The account's default currency.
    pub default_currency: Option<String>,
    /// The host's id in the main app, from the metadata.
    pub host_id: Option<String>,
    /// When the account was made, in Unix seconds.
    pub created: Option<i64>,
}

/// What Stripe still wants to know of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Requirements {
    /// Due before `current_deadline`.
    pub currently_due: Vec<String>,
    /// Overdue.
    pub past_due: Vec<String>,
    /// Due some day.
    pub eventually_due: Vec<String>,
    /// Given, and being checked.
    pub pending_verification: Vec<String>,
    /// Why the account is held back.
    pub disabled_reason: Option<String>,
    /// When the account will be held back, in Unix seconds.
    pub current_deadline: Option<i64>,
}

/// Absent, null, or a value: `previous_attributes` names only what changed, so
/// the three differ.
type Field<T> = Option<Option<T>>;

/// The fields of an account object, or of a `previous_attributes` over one.
#[derive(Clone, Debug, Deserialize)]
pub struct AccountPatch {
    /// The account's id.
    pub id: Option<String>,
    /// The kind of object.
    pub object: Option<String>,
    #[serde(default, rename = "type", deserialize_with = "named")]
    kind: Field<String>,
    #[serde(default, deserialize_with = "named")]
    charges_enabled: Field<bool>,
    #[serde(default, deserialize_with = "named")]
    payouts_enabled: Field<bool>,
    #[serde(default, deserialize_with = "named")]
    details_submitted: Field<bool>,
    #[serde(default, deserialize_with = "named")]
    capabilities: Field<Capabilities>,
    #[serde(default, deserialize_with = "named")]
    requirements: Field<RequirementsPatch>,
    #[serde(default, deserialize_with = "named")]
    future_requirements: Field<RequirementsPatch>,
    #[serde(default, deserialize_with = "named")]
    country: Field<String>,
    #[serde(default, deserialize_with = "named")]
    default_currency: Field<String>,
    #[serde(default, deserialize_with = "named")]
    metadata: Field<Metadata>,
    #[serde(default, deserialize_with = "named")]
    created: Field<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Capabilities {
    #[serde(default, deserialize_with = "named")]
    card_payments: Field<String>,
    #[serde(default, deserialize_with = "named")]
    legacy_payments: Field<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default, rename = "hostId", deserialize_with = "named")]
    host_id: Field<HostId>,
}

/// Stripe's metadata values are strings; a number is read as well.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum HostId {
    Text(String),
    Number(serde_json::Number),
}

#[derive(Clone, Debug, Default, Deserialize)]
struct RequirementsPatch {
    #[serde(default, deserialize_with = "named")]
    currently_due: Field<Vec<String>>,
    #[serde(default, deserialize_with = "named")]
    past_due: Field<Vec<String>>,
    #[serde(default, deserialize_with = "named")]
    eventually_due: Field<Vec<String>>,
    #[serde(default, deserialize_with = "named")]
    pending_verification: Field<Vec<String>>,
    #[serde(default, deserialize_with = "named")]
    disabled_reason: Field<String>,
    #[serde(default, deserialize_with = "named")]
    current_deadline: Field<i64>,
}

fn named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Field<T>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The value of a field, whether absent or null.
fn known<T>(field: Field<T>) -> Option<T> {
    field.flatten()
}

/// Lays one group of fields over another, field by field.
fn nested<T>(under: Field<T>, over: Field<T>, lay: impl FnOnce(T, T) -> T) -> Field<T> {
    match (under, over) {
        (Some(Some(under)), Some(Some(over))) => Some(Some(lay(under, over))),
        (under, over) => over.or(under),
    }
}

impl AccountPatch {
    /// Lays `over` over this object, as Stripe's `previous_attributes` are
    /// meant: a nested object names only its changed fields, a list is whole.
    pub fn overlaid(self, over: Self) -> Self {
        Self {
            id: self.id,
            object: self.object,
            kind: over.kind.or(self.kind),
            charges_enabled: over.charges_enabled.or(self.charges_enabled),
            payouts_enabled: over.payouts_enabled.or(self.payouts_enabled),
            details_submitted: over.details_submitted.or(self.details_submitted),
            capabilities: nested(self.capabilities, over.capabilities, |under, over| {
                Capabilities {
                    card_payments: over.card_payments.or(under.card_payments),
                    legacy_payments: over.legacy_payments.or(under.legacy_payments),
                }
            }),
            requirements: nested(
                self.requirements,
                over.requirements,
                RequirementsPatch::overlaid,
            ),
            future_requirements: nested(
                self.future_requirements,
                over.future_requirements,
                RequirementsPatch::overlaid,
            ),
            country: over.country.or(self.country),
            default_currency: over.default_currency.or(self.default_currency),
            metadata: nested(self.metadata, over.metadata, |under, over| Metadata {
                host_id: over.host_id.or(under.host_id),
            }),
            created: over.created.or(self.created),
        }
    }

    /// The values that are kept.
    ///
    /// # Errors
    /// A [`Rejection`] where a value cannot be kept by Postgres.
    pub fn into_snapshot(self) -> Result<AccountSnapshot, Rejection> {
        let short = |value, field| decode::optional_text(known(value), field, MAX_ID);
        let capabilities = known(self.capabilities).unwrap_or_default();
        let future = known(self.future_requirements).unwrap_or_default();
        let host_id = known(known(self.metadata).unwrap_or_default().host_id);
        let host_id = host_id.map(|id| match id {
            HostId::Text(text) => text,
            HostId::Number(number) => number.to_string(),
        });
        Ok(AccountSnapshot {
            account_type: short(self.kind, "account.type")?,
            charges_enabled: known(self.charges_enabled).unwrap_or(false),
            payouts_enabled: known(self.payouts_enabled).unwrap_or(false),
            details_submitted: known(self.details_submitted).unwrap_or(false),
            card_payments: short(
                capabilities.card_payments,
                "account.capabilities.card_payments",
            )?,
            legacy_payments: short(
                capabilities.legacy_payments,
                "account.capabilities.legacy_payments",
            )?,
            requirements: known(self.requirements).unwrap_or_default().into_values()?,
            future_currently_due: list(
                future.currently_due,
                "account.future_requirements.currently_due",
            )?,
            future_deadline: deadline(future.current_deadline)?,
            country: short(self.country, "account.country")?,
            default_currency: short(self.default_currency, "account.default_currency")?,
            host_id: decode::optional_text(host_id, "account.metadata.hostId", MAX_METADATA)?,
            created: known(self.created)
                .map(|at| decode::time(at, "account.created"))
                .transpose()?,
        })
    }
}

impl RequirementsPatch {
    fn overlaid(self, over: Self) -> Self {
        Self {
            currently_due: over.currently_due.or(self.currently_due),
            past_due: over.past_due.or(self.past_due),
            eventually_due: over.eventually_due.or(self.eventually_due),
            pending_verification: over.pending_verification.or(self.pending_verification),
            disabled_reason: over.disabled_reason.or(self.disabled_reason),
            current_deadline: over.current_deadline.or(self.current_deadline),
        }
    }

    fn into_values(self) -> Result<Requirements, Rejection> {
        Ok(Requirements {
            currently_due: list(self.currently_due, "account.requirements.currently_due")?,
            past_due: list(self.past_due, "account.requirements.past_due")?,
            eventually_due: list(self.eventually_due, "account.requirements.eventually_due")?,
            pending_verification: list(
                self.pending_verification,
                "account.requirements.pending_verification",
            )?,
            disabled_reason: decode::optional_text(
                known(self.disabled_reason),
                "account.requirements.disabled_reason",
                MAX_ID,
            )?,
            current_deadline: deadline(self.current_deadline)?,
        })
    }
}

fn list(field: Field<Vec<String>>, name: &'static str) -> Result<Vec<String>, Rejection> {
    let values = known(field).unwrap_or_default();
    if values.len() > MAX_REQUIREMENTS {
        return Err(Rejection::TextTooLong {
            field: name,
            limit: MAX_REQUIREMENTS,
        });
    }
    values
        .into_iter()
        .map(|value| decode::text(value, name, MAX_TEXT))
        .collect()
}

fn deadline(field: Field<i64>) -> Result<Option<i64>, Rejection> {
    known(field)
        .map(|at| decode::time(at, "account.requirements.current_deadline"))
        .transpose()
}
