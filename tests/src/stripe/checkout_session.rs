//! Checkout sessions.

use serde_json::{Value, json};

use super::{ApiVersion, SAMPLE_TIME};

/// A session with which a guest pays a booking.
#[derive(Clone, Debug)]
pub struct CheckoutSession {
    /// `id`.
    pub id: String,
    /// `status`: `open`, `complete` or `expired`.
    pub status: String,
    /// `payment_status`: `unpaid`, `paid` or `no_payment_required`.
    pub payment_status: String,
    /// `metadata.dialoomBookingId` and `client_reference_id`, where there is one.
    pub booking: Option<String>,
    /// `invoice`: its id, once there is one.
    pub invoice: Option<String>,
    /// `amount_total`, in the currency's minor unit.
    pub total: i64,
    /// `currency`.
    pub currency: String,
    /// `created`, in seconds since 1970.
    pub created: i64,
    /// The version whose shape it has.
    pub version: ApiVersion,
}

impl Default for CheckoutSession {
    /// A paid session of booking 1, for 45.00 euros.
    fn default() -> Self {
        Self {
            id: "cs_test_sample".to_owned(),
            status: "complete".to_owned(),
            payment_status: "paid".to_owned(),
            booking: Some("1".to_owned()),
            invoice: Some("in_1Sample".to_owned()),
            total: 4500,
            currency: "eur".to_owned(),
            created: SAMPLE_TIME,
            version: ApiVersion::default(),
        }
    }
}

impl CheckoutSession {
    /// The session as Stripe shows it.
    #[must_use]
    pub fn value(&self) -> Value {
        let mut session = json!({
            "id": self.id,
            "object": "checkout.session",
            "after_expiration": null,
            "allow_promotion_codes": null,
            "amount_subtotal": self.total,
            "amount_total": self.total,
            "automatic_tax": { "enabled": false, "liability": null, "provider": null, "status": null },
            "billing_address_collection": null,
            "cancel_url": "https://dialoom.example/bookings/cancelled",
            "client_reference_id": self.booking,
            "client_secret": null,
            "consent": null,
            "consent_collection": null,
            "created": self.created,
            "currency": self.currency,
            "currency_conversion": null,
            "custom_fields": [],
            "custom_text": {
                "after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null,
            },
            "customer": null,
            "customer_creation": "if_required",
            "customer_details": {
                "address": {
                    "city": null, "country": "ES", "line1": "Sample street 1", "line2": null,
                    "postal_code": "08001", "state": null,
                },
                "email": "guest@dialoom.example", "name": "Sample guest", "phone": null,
                "tax_exempt": "none", "tax_ids": [],
            },
            "customer_email": null,
            "expires_at": self.created + 86_400,
            "invoice": self.invoice,
            "invoice_creation": {
                "enabled": true,
                "invoice_data": {
                    "account_tax_ids": null, "custom_fields": null, "description": null, "footer": null,
                    "issuer": null, "metadata": {}, "rendering_options": null,
                },
            },
            "livemode": false,
            "locale": "es",
            "metadata": {},
            "mode": "payment",
            "payment_intent": self.id.replacen("cs_test_", "pi_", 1),
            "payment_link": null,
            "payment_method_collection": "if_required",
            "payment_method_options": { "card": { "request_three_d_secure": "automatic" } },
            "payment_method_types": ["card"],
            "payment_status": self.payment_status,
            "phone_number_collection": { "enabled": false },
            "recovered_from": null,
            "saved_payment_method_options": null,
            "setup_intent": null,
            "shipping_address_collection": null,
            "shipping_cost": null,
            "shipping_options": [],
            "status": self.status,
            "submit_type": "book",
            "subscription": null,
            "success_url": "https://dialoom.example/bookings/paid?session={CHECKOUT_SESSION_ID}",
            "total_details": { "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0 },
            "ui_mode": "hosted",
            "url": null,
        });
        if let Some(booking) = &self.booking {
            session["metadata"]["dialoomBookingId"] = booking.as_str().into();
            session["invoice_creation"]["invoice_data"]["metadata"]["dialoomBookingId"] =
                booking.as_str().into();
        }
        self.set_what_versions_differ_in(&mut session);
        session
    }

    fn set_what_versions_differ_in(&self, session: &mut Value) {
        match self.version {
            ApiVersion::V2019_12_03 => {
                session["display_items"] = json!([{
                    "amount": self.total, "currency": self.currency, "quantity": 1, "type": "custom",
                    "custom": { "description": null, "images": null, "name": "Video call, 30 minutes" },
                }]);
                session["shipping"] = Value::Null;
            }
            ApiVersion::V2020_08_27 => session["shipping"] = Value::Null,
            ApiVersion::V2022_11_15 | ApiVersion::V2024_06_20 => {
                session["shipping_details"] = Value::Null;
            }
            ApiVersion::V2025_03_31Basil
            | ApiVersion::V2025_09_30Clover
            | ApiVersion::V2026_10_28Endive => {
                session["collected_information"] = Value::Null;
                session["adaptive_pricing"] = json!({ "enabled": true });
                session["permissions"] = Value::Null;
                session["wallet_options"] = Value::Null;
            }
        }
    }
}
