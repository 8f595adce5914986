//! Charges of which something was refunded.

use serde_json::{Value, json};

use super::{ApiVersion, SAMPLE_TIME};

/// A guest's charge.
#[derive(Clone, Debug)]
pub struct Charge {
    /// `id`.
    pub id: String,
    /// `amount`, in the currency's minor unit.
    pub amount: i64,
    /// `amount_refunded`, in the currency's minor unit.
    pub refunded: i64,
    /// `payment_intent`, where there is one.
    pub intent: Option<String>,
    /// `invoice`, which versions before basil show.
    pub invoice: Option<String>,
    /// The version whose shape it has.
    pub version: ApiVersion,
}

impl Default for Charge {
    /// A charge of 45.00 euros, of which 12.00 were refunded.
    fn default() -> Self {
        Self {
            id: "ch_1Sample".to_owned(),
            amount: 4500,
            refunded: 1200,
            intent: Some("pi_1Sample".to_owned()),
            invoice: Some("in_1Sample".to_owned()),
            version: ApiVersion::default(),
        }
    }
}

impl Charge {
    /// The charge as Stripe shows it.
    #[must_use]
    pub fn value(&self) -> Value {
        let Self { id, amount, .. } = self;
        let mut charge = json!({
            "id": id,
            "object": "charge",
            "amount": amount,
            "amount_captured": amount,
            "amount_refunded": self.refunded,
            "application": "ca_DialoomSamplePlatform",
            "application_fee": "fee_1Sample",
            "application_fee_amount": amount / 10,
            "balance_transaction": "txn_1Sample",
            "billing_details": {
                "address": {
                    "city": null, "country": "ES", "line1": "Sample street 1", "line2": null,
                    "postal_code": null, "state": null,
                },
                "email": "guest@dialoom.example", "name": "Sample guest", "phone": null,
                "tax_id": null,
            },
            "calculated_statement_descriptor": "DIALOOM.EXAMPLE",
            "captured": true,
            "created": SAMPLE_TIME,
            "currency": "eur",
            "customer": "cus_SampleGuest",
            "description": null,
            "disputed": false,
            "failure_balance_transaction": null,
            "failure_code": null,
            "failure_message": null,
            "fraud_details": {},
            "livemode": false,
            "metadata": {},
            "on_behalf_of": null,
            "outcome": {
                "advice_code": null, "network_advice_code": null, "network_decline_code": null,
                "network_status": "approved_by_network", "reason": null, "risk_level": "normal",
                "seller_message": "Payment complete.", "type": "authorized",
            },
            "paid": true,
            "payment_intent": self.intent,
            "payment_method": "pm_1Sample",
            "payment_method_details": { "card": { "brand": "visa", "last4": "4242" }, "type": "card" },
            "receipt_email": "guest@dialoom.example",
            "receipt_number": null,
            "receipt_url": "https://pay.stripe.com/receipts/sample",
            "refunded": self.refunded == *amount,
            "review": null,
            "shipping": null,
            "source": null,
            "source_transfer": null,
            "statement_descriptor": null,
            "statement_descriptor_suffix": null,
            "status": "succeeded",
            "transfer_data": null,
            "transfer_group": null,
        });
        if self.version < ApiVersion::V2025_03_31Basil {
            charge["invoice"] = json!(self.invoice);
        }
        charge
    }
}
