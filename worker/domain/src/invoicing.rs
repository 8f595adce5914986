//! Whether Stripe can issue invoices in a host's name as the marketplace wants them.

use serde::Deserialize;

/// Something that a host's account lacks for its invoices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Stripe's field.
    pub field: &'static str,
    /// What it means, in a sentence.
    pub message: &'static str,
    /// Whether no invoice comes about, or a wrong one. Else an invoice lacks something that
    /// its reader looks for.
    pub blocks: bool,
}

/// The part of an account's object that invoices need.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct InvoicingAccount {
    capabilities: Option<Capabilities>,
    business_profile: Option<BusinessProfile>,
    settings: Option<Settings>,
    default_currency: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Capabilities {
    card_payments: Option<String>,
    legacy_payments: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct BusinessProfile {
    name: Option<String>,
    support_address: Option<Address>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    line1: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    branding: Option<Branding>,
    invoices: Option<Invoices>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Branding {
    icon: Option<serde::de::IgnoredAny>,
    logo: Option<serde::de::IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Invoices {
    default_account_tax_ids: Option<Vec<serde::de::IgnoredAny>>,
}

/// The tax settings of an account.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TaxSettings {
    status: Option<String>,
    head_office: Option<serde::de::IgnoredAny>,
}

/// What an account has set up for automatic tax.
#[derive(Clone, Debug, Default)]
pub struct Tax {
    /// Its settings.
    pub settings: TaxSettings,
    /// Whether at least one registration is active.
    pub is_registered: bool,
}

/// What the account lacks. `tax` is what it has set up for taxes, where invoices are to have
/// automatic tax.
pub fn missing(account: &InvoicingAccount, tax: Option<&Tax>) -> Vec<Gap> {
    let mut checks = checks_of_account(account);
    checks.extend(tax.into_iter().flat_map(checks_of_tax));
    checks
        .into_iter()
        .filter_map(|(holds, missing)| (!holds).then_some(missing))
        .collect()
}

/// Whether something holds, and what is missing where it does not.
type Check = (bool, Gap);

fn checks_of_account(account: &InvoicingAccount) -> Vec<Check> {
    let capabilities = account.capabilities.clone().unwrap_or_default();
    let profile = account.business_profile.clone().unwrap_or_default();
    let address = profile.support_address.unwrap_or_default();
    let settings = account.settings.clone().unwrap_or_default();
    let branding = settings.branding.unwrap_or_default();
    let invoices = settings.invoices.unwrap_or_default();
    let tax_ids = invoices.default_account_tax_ids.unwrap_or_default();
    let is_active = |status: Option<String>| status.as_deref() == Some("active");
    vec![
        (
            is_active(capabilities.card_payments) || is_active(capabilities.legacy_payments),
            blocking(
                "capabilities.card_payments",
                "The account cannot take card payments, so no guest can pay and no invoice comes about.",
            ),
        ),
        (
            is_given(profile.name.as_deref()),
            blocking(
                "business_profile.name",
                "The business has no name, which stands at the head of an invoice.",
            ),
        ),
        (
            is_given(address.line1.as_deref()),
            advised(
                "business_profile.support_address",
                "The business has no support address, which an invoice shows as the host's address.",
            ),
        ),
        (
            branding.icon.is_some() || branding.logo.is_some(),
            advised(
                "settings.branding",
                "The account has no icon and no logo: its invoices look like anybody's.",
            ),
        ),
        (
            !tax_ids.is_empty(),
            advised(
                "settings.invoices.default_account_tax_ids",
                "The account has no default tax ids, so its invoices show none.",
            ),
        ),
        (
            is_given(account.default_currency.as_deref()),
            blocking("default_currency", "The account has no default currency."),
        ),
    ]
}

fn checks_of_tax(tax: &Tax) -> [Check; 3] {
    [
        (
            tax.settings.head_office.is_some(),
            blocking(
                "tax.settings.head_office",
                "The account has no head office for taxes, so automatic tax refuses the checkout.",
            ),
        ),
        (
            tax.settings.status.as_deref() == Some("active"),
            blocking(
                "tax.settings.status",
                "The account's tax settings are not active, so automatic tax refuses the checkout.",
            ),
        ),
        (
            tax.is_registered,
            blocking(
                "tax.registrations",
                "The account has no active tax registration: without one the tax is zero, silently.",
            ),
        ),
    ]
}

fn blocking(field: &'static str, message: &'static str) -> Gap {
    Gap {
        field,
        message,
        blocks: true,
    }
}

fn advised(field: &'static str, message: &'static str) -> Gap {
    Gap {
        field,
        message,
        blocks: false,
    }
}

fn is_given(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn account(value: serde_json::Value) -> InvoicingAccount {
        serde_json::from_value(value).unwrap()
    }

    fn complete() -> serde_json::Value {
        json!({
            "capabilities": { "card_payments": "active" },
            "business_profile": { "name": "Host", "support_address": { "line1": "Street 1" } },
            "settings": {
                "branding": { "icon": "file_1", "logo": null },
                "invoices": { "default_account_tax_ids": ["txi_1"] },
            },
            "default_currency": "eur",
        })
    }

    fn fields(account: &InvoicingAccount, tax: Option<&Tax>) -> Vec<&'static str> {
        missing(account, tax).iter().map(|one| one.field).collect()
    }

    #[test]
    fn an_account_that_has_all_lacks_nothing() {
        assert_eq!(missing(&account(complete()), None), []);
        let tax = Tax {
            settings: serde_json::from_value(
                json!({ "status": "active", "head_office": { "address": {} } }),
            )
            .unwrap(),
            is_registered: true,
        };
        assert_eq!(missing(&account(complete()), Some(&tax)), []);
    }

    #[test]
    fn each_gap_is_named_by_its_field() {
        let gaps = [
            ("/capabilities/card_payments", "capabilities.card_payments"),
            ("/business_profile/name", "business_profile.name"),
            (
                "/business_profile/support_address",
                "business_profile.support_address",
            ),
            ("/settings/branding/icon", "settings.branding"),
            (
                "/settings/invoices/default_account_tax_ids",
                "settings.invoices.default_account_tax_ids",
            ),
            ("/default_currency", "default_currency"),
        ];
        for (pointer, field) in gaps {
            let mut value = complete();
            *value.pointer_mut(pointer).unwrap() = json!(null);
            assert_eq!(fields(&account(value), None), [field]);
        }
        let all: Vec<&str> = gaps.iter().map(|(_, field)| *field).collect();
        assert_eq!(fields(&account(json!({})), None), all);
        let nothing = [
            "tax.settings.head_office",
            "tax.settings.status",
            "tax.registrations",
        ];
        assert_eq!(fields(&account(complete()), Some(&Tax::default())), nothing);
    }
}
