//! Invoices.

use serde_json::{Value, json};

use super::{ApiVersion, SAMPLE_TIME};

/// An invoice that a host issues to a guest.
#[derive(Clone, Debug)]
pub struct Invoice {
    /// `id`.
    pub id: String,
    /// `status`: `draft`, `open`, `paid`, `uncollectible` or `void`.
    pub status: String,
    /// `metadata.dialoomBookingId`, where there is one.
    pub booking: Option<String>,
    /// `total`, in the currency's minor unit.
    pub total: i64,
    /// `currency`.
    pub currency: String,
    /// `created`, in seconds since 1970.
    pub created: i64,
    /// The version whose shape it has.
    pub version: ApiVersion,
}

impl Default for Invoice {
    /// A paid invoice of booking 1, for 45.00 euros.
    fn default() -> Self {
        Self {
            id: "in_1Sample".to_owned(),
            status: "paid".to_owned(),
            booking: Some("1".to_owned()),
            total: 4500,
            currency: "eur".to_owned(),
            created: SAMPLE_TIME,
            version: ApiVersion::default(),
        }
    }
}

impl Invoice {
    /// The invoice as Stripe shows it: what a draft does not have yet is null.
    #[must_use]
    pub fn value(&self) -> Value {
        let Self {
            id, total, created, ..
        } = self;
        let is_final = self.status != "draft";
        let paid = if self.status == "paid" { *total } else { 0 };
        let token = id.trim_start_matches("in_");
        let hosted = format!("https://invoice.stripe.com/i/acct_sample/test_{token}");
        let pdf = format!("https://pay.stripe.com/invoice/acct_sample/test_{token}/pdf");
        let reached =
            |status: &str, seconds: i64| (self.status == status).then_some(created + seconds);
        let mut invoice = json!({
            "id": id,
            "object": "invoice",
            "account_country": "ES",
            "account_name": "Sample host",
            "account_tax_ids": null,
            "amount_due": total,
            "amount_paid": paid,
            "amount_remaining": total - paid,
            "amount_shipping": 0,
            "application": "ca_DialoomSamplePlatform",
            "attempt_count": i32::from(paid > 0),
            "attempted": paid > 0,
            "auto_advance": !is_final,
            "automatic_tax": {
                "disabled_reason": null, "enabled": false, "liability": null, "provider": null, "status": null,
            },
            "automatically_finalizes_at": (!is_final).then_some(created + 3600),
            "billing_reason": "manual",
            "collection_method": "charge_automatically",
            "created": created,
            "currency": self.currency,
            "custom_fields": null,
            "customer": "cus_SampleGuest",
            "customer_address": null,
            "customer_email": "guest@dialoom.example",
            "customer_name": "Sample guest",
            "customer_phone": null,
            "customer_shipping": null,
            "customer_tax_exempt": "none",
            "customer_tax_ids": [],
            "default_payment_method": null,
            "default_source": null,
            "default_tax_rates": [],
            "description": null,
            "discounts": [],
            "due_date": null,
            "effective_at": is_final.then_some(created + 2),
            "ending_balance": is_final.then_some(0),
            "footer": null,
            "from_invoice": null,
            "hosted_invoice_url": is_final.then_some(hosted),
            "invoice_pdf": is_final.then_some(pdf),
            "issuer": { "type": "self" },
            "last_finalization_error": null,
            "latest_revision": null,
            "lines": {
                "object": "list", "data": [self.line()], "has_more": false, "total_count": 1,
                "url": format!("/v1/invoices/{id}/lines"),
            },
            "livemode": false,
            "metadata": {},
            "next_payment_attempt": null,
            "number": is_final.then(|| format!("{}-0001", token.to_uppercase())),
            "on_behalf_of": null,
            "payment_settings": {
                "default_mandate": null, "payment_method_options": null, "payment_method_types": null,
            },
            "period_end": created,
            "period_start": created,
            "post_payment_credit_notes_amount": 0,
            "pre_payment_credit_notes_amount": 0,
            "receipt_number": null,
            "rendering": null,
            "shipping_cost": null,
            "shipping_details": null,
            "starting_balance": 0,
            "statement_descriptor": null,
            "status": self.status,
            "status_transitions": {
                "finalized_at": is_final.then_some(created + 2),
                "marked_uncollectible_at": reached("uncollectible", 9),
                "paid_at": reached("paid", 3),
                "voided_at": reached("void", 9),
            },
            "subtotal": total,
            "subtotal_excluding_tax": total,
            "test_clock": null,
            "total": total,
            "total_discount_amounts": [],
            "total_excluding_tax": total,
            "webhooks_delivered_at": is_final.then_some(created + 1),
        });
        if let Some(booking) = &self.booking {
            invoice["metadata"]["dialoomBookingId"] = booking.as_str().into();
        }
        self.set_what_versions_differ_in(&mut invoice);
        invoice
    }

    fn set_what_versions_differ_in(&self, invoice: &mut Value) {
        if self.version >= ApiVersion::V2025_03_31Basil {
            invoice["amount_overpaid"] = 0.into();
            invoice["parent"] = Value::Null;
            invoice["total_pretax_credit_amounts"] = json!([]);
            invoice["total_taxes"] = json!([]);
            return;
        }
        let token = self.id.trim_start_matches("in_");
        let is_paid = self.status == "paid";
        invoice["charge"] = json!(is_paid.then(|| format!("ch_{token}")));
        invoice["discount"] = Value::Null;
        invoice["paid"] = is_paid.into();
        invoice["paid_out_of_band"] = false.into();
        invoice["payment_intent"] = json!((self.status != "draft").then(|| format!("pi_{token}")));
        invoice["quote"] = Value::Null;
        invoice["subscription"] = Value::Null;
        invoice["tax"] = Value::Null;
        invoice["total_tax_amounts"] = json!([]);
        if self.version == ApiVersion::V2019_12_03 {
            invoice["tax_percent"] = Value::Null;
            invoice["payment_settings"] = Value::Null;
        }
    }

    fn line(&self) -> Value {
        let token = self.id.trim_start_matches("in_");
        let mut line = json!({
            "id": format!("il_{token}"),
            "object": "line_item",
            "amount": self.total,
            "currency": self.currency,
            "description": "Video call, 30 minutes",
            "discount_amounts": [],
            "discountable": true,
            "discounts": [],
            "livemode": false,
            "metadata": {},
            "period": { "end": self.created, "start": self.created },
            "quantity": 1,
        });
        if self.version >= ApiVersion::V2025_03_31Basil {
            line["invoice"] = self.id.as_str().into();
            line["parent"] = json!({
                "invoice_item_details": {
                    "invoice_item": format!("ii_{token}"), "proration": false,
                    "proration_details": { "credited_items": null }, "subscription": null,
                },
                "subscription_item_details": null,
                "type": "invoice_item_details",
            });
            line["pricing"] = json!({
                "price_details": { "price": "price_sample", "product": "prod_sample" },
                "type": "price_details",
                "unit_amount_decimal": self.total.to_string(),
            });
            line["taxes"] = json!([]);
        } else {
            line["invoice_item"] = format!("ii_{token}").into();
            line["plan"] = Value::Null;
            line["price"] = json!({
                "id": "price_sample", "object": "price", "active": false, "currency": self.currency,
                "product": "prod_sample", "type": "one_time", "unit_amount": self.total,
            });
            line["proration"] = false.into();
            line["tax_amounts"] = json!([]);
            line["tax_rates"] = json!([]);
            line["type"] = "invoiceitem".into();
        }
        line
    }
}
