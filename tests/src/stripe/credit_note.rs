//! Credit notes.

use serde_json::{Value, json};

use super::SAMPLE_TIME;

/// What a host credits a guest with.
#[derive(Clone, Debug)]
pub struct CreditNote {
    /// `id`.
    pub id: String,
    /// `invoice`.
    pub invoice: String,
    /// `total`, in the currency's minor unit.
    pub total: i64,
    /// Whether its `status` is `void`.
    pub is_void: bool,
}

impl Default for CreditNote {
    /// A note of 5.00 euros.
    fn default() -> Self {
        Self {
            id: "cn_1Sample".to_owned(),
            invoice: "in_1Sample".to_owned(),
            total: 500,
            is_void: false,
        }
    }
}

impl CreditNote {
    /// The note as Stripe shows it. All versions have these fields.
    #[must_use]
    pub fn value(&self) -> Value {
        let Self { id, total, .. } = self;
        let line = json!({
            "id": "cnli_1Sample", "object": "credit_note_line_item", "amount": total,
            "description": "Video call", "discount_amount": 0, "discount_amounts": [],
            "livemode": false, "quantity": null, "tax_rates": [], "type": "custom_line_item",
            "unit_amount": null, "unit_amount_decimal": null,
        });
        json!({
            "id": id,
            "object": "credit_note",
            "amount": total,
            "amount_shipping": 0,
            "created": SAMPLE_TIME,
            "currency": "eur",
            "customer": "cus_SampleGuest",
            "customer_balance_transaction": null,
            "discount_amount": 0,
            "discount_amounts": [],
            "effective_at": SAMPLE_TIME,
            "invoice": self.invoice,
            "lines": {
                "object": "list", "data": [line], "has_more": false, "total_count": 1,
                "url": format!("/v1/credit_notes/{id}/lines"),
            },
            "livemode": false,
            "memo": "For Sample guest",
            "metadata": {},
            "number": "SAMPLE-0001-CN-01",
            "out_of_band_amount": null,
            "pdf": format!("https://pay.stripe.com/credit_notes/acct_sample/{id}/pdf"),
            "post_payment_amount": total,
            "pre_payment_amount": 0,
            "reason": null,
            "refunds": [],
            "shipping_cost": null,
            "status": if self.is_void { "void" } else { "issued" },
            "subtotal": total,
            "subtotal_excluding_tax": total,
            "total": total,
            "total_excluding_tax": total,
            "type": "post_payment",
            "voided_at": self.is_void.then_some(SAMPLE_TIME),
        })
    }
}
