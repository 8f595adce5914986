//! What Stripe is asked for when a guest is to pay. No I/O.

use domain::ids::AccountId;
use serde_json::{Value, json};

use super::fields::Checkout;
use crate::config::commands::CommandSettings;

/// The longest time that Stripe keeps a session open, in minutes, which it does where it is
/// told nothing.
const DAY: i64 = 1440;
/// The shortest time, in seconds, which Stripe counts from when it makes the session. A request
/// may be on its way for a minute, and clocks differ.
const SHORTEST: i64 = 30 * 60 + 120;

/// What the guest and the platform agree on. A session with other terms is another one.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    amount: i64,
    currency: String,
    description: String,
    fee: i64,
    automatic_tax: bool,
    adaptive_pricing: bool,
}

impl Terms {
    pub(super) fn of(checkout: &Checkout, settings: &CommandSettings) -> Self {
        Self {
            amount: checkout.amount,
            currency: checkout.currency.clone(),
            description: checkout.description.clone(),
            // Of the amount before tax: the tax is not the platform's to share.
            fee: checkout
                .fee
                .unwrap_or(settings.fee)
                .of(checkout.amount, &checkout.currency),
            automatic_tax: checkout.automatic_tax.unwrap_or(settings.automatic_tax),
            adaptive_pricing: settings.adaptive_pricing,
        }
    }

    /// What tells these terms from others.
    pub(super) fn hashed(&self, host: &AccountId) -> Value {
        json!([
            host.as_str(),
            self.amount,
            self.currency,
            self.description,
            self.fee,
            self.automatic_tax,
            self.adaptive_pricing,
        ])
    }

    /// The parameters of the session.
    pub(super) fn parameters(&self, checkout: &Checkout, booking_key: &str) -> Value {
        let metadata = json!({ booking_key: checkout.booking.to_string() });
        let mut parameters = json!({
            "mode": "payment",
            "success_url": checkout.success_url,
            "cancel_url": checkout.cancel_url,
            "customer_email": checkout.email,
            "locale": checkout.locale,
            "expires_at": checkout.expires_in.and_then(expires_at),
            "line_items": [{
                "quantity": 1,
                "price_data": {
                    "currency": self.currency,
                    "unit_amount": self.amount,
                    "product_data": { "name": self.description },
                },
            }],
            "metadata": metadata,
            "payment_intent_data": { "metadata": metadata },
            "invoice_creation": { "enabled": true, "invoice_data": { "metadata": metadata } },
            "adaptive_pricing": { "enabled": self.adaptive_pricing },
        });
        if self.fee > 0 {
            parameters["payment_intent_data"]["application_fee_amount"] = self.fee.into();
        }
        if self.automatic_tax {
            // The host owes the tax and issues the invoice.
            let own = json!({ "type": "self" });
            parameters["automatic_tax"] = json!({ "enabled": true, "liability": own });
            parameters["invoice_creation"]["invoice_data"]["issuer"] = own;
            parameters["line_items"][0]["price_data"]["tax_behavior"] = "exclusive".into();
            parameters["customer_creation"] = "always".into();
            parameters["billing_address_collection"] = "required".into();
            parameters["tax_id_collection"] = json!({ "enabled": true });
        }
        parameters
    }
}

/// When a session ends that is to be open for so many minutes, in Unix seconds. A day is
/// Stripe's to count: a time that is a second too far away is refused.
fn expires_at(minutes: i64) -> Option<i64> {
    let seconds = (minutes * 60).max(SHORTEST);
    (minutes < DAY).then(|| shared::clock::now_unix() + seconds)
}
