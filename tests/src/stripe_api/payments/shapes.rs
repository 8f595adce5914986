//! The shapes of customers, payment intents, charges and fees.

use serde_json::{Value, json};

use super::{APPLICATION, Parties, State, list, metadata_of};

/// A customer.
pub(super) fn customer(state: &State, id: &str, details: &Value) -> Value {
    json!({
        "id": id,
        "object": "customer",
        "address": details["address"],
        "balance": 0,
        "created": state.now(),
        "currency": null,
        "customer_account": null,
        "default_source": null,
        "delinquent": false,
        "description": null,
        "discount": null,
        "email": details["email"],
        "invoice_prefix": id.get(id.len().saturating_sub(8)..).map(str::to_uppercase),
        "invoice_settings": {
            "custom_fields": null, "default_payment_method": null, "footer": null,
            "rendering_options": null,
        },
        "livemode": state.options.livemode,
        "metadata": {},
        "name": details["name"],
        "phone": details["phone"],
        "preferred_locales": [],
        "shipping": null,
        "tax_exempt": "none",
        "test_clock": null,
    })
}

/// A payment intent that nothing was paid of.
pub(super) fn intent(
    state: &State,
    id: &str,
    parties: &Parties,
    session: &Value,
    data: &Value,
) -> Value {
    let or_null = |name: &str| data.get(name).cloned().unwrap_or_default();
    json!({
        "id": id,
        "object": "payment_intent",
        "allowed_payment_method_types": null,
        "amount": session["amount_total"],
        "amount_capturable": 0,
        "amount_received": 0,
        "application": APPLICATION,
        "application_fee_amount": or_null("application_fee_amount"),
        "automatic_payment_methods": null,
        "canceled_at": null,
        "cancellation_reason": null,
        "capture_method": "automatic_async",
        "client_secret": format!("{id}_secret_sample"),
        "confirmation_method": "automatic",
        "created": state.now(),
        "currency": session["currency"],
        "customer": parties.customer,
        "customer_account": null,
        "description": or_null("description"),
        "excluded_payment_method_types": null,
        "last_payment_error": null,
        "latest_charge": null,
        "livemode": state.options.livemode,
        "managed_payments": null,
        "metadata": metadata_of(data),
        "next_action": null,
        "on_behalf_of": null,
        "payment_method": null,
        "payment_method_configuration_details": null,
        "payment_method_options": { "card": {
            "installments": null, "mandate_options": null, "network": null,
            "request_three_d_secure": "automatic",
        } },
        "payment_method_types": session["payment_method_types"],
        "payment_record": null,
        "processing": null,
        "receipt_email": or_null("receipt_email"),
        "review": null,
        "setup_future_usage": null,
        "shipping": null,
        "source": null,
        "statement_descriptor": null,
        "statement_descriptor_suffix": null,
        "status": "requires_payment_method",
        "transfer_data": null,
        "transfer_group": null,
    })
}

/// A charge whose money is on its way.
pub(super) fn charge(
    state: &State,
    id: &str,
    parties: &Parties,
    intent: &Value,
    method: &str,
) -> Value {
    json!({
        "id": id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": APPLICATION,
        "application_fee": null,
        "application_fee_amount": intent["application_fee_amount"],
        "balance_transaction": null,
        "billing_details": {
            "address": parties.details["address"], "email": parties.details["email"],
            "name": parties.details["name"], "phone": null, "tax_id": null,
        },
        "calculated_statement_descriptor": "DIALOOM.EXAMPLE",
        "captured": false,
        "created": state.now(),
        "currency": intent["currency"],
        "customer": parties.customer,
        "description": intent["description"],
        "disputed": false,
        "failure_balance_transaction": null,
        "failure_code": null,
        "failure_message": null,
        "fraud_details": {},
        "livemode": state.options.livemode,
        "metadata": intent["metadata"],
        "on_behalf_of": null,
        "outcome": {
            "advice_code": null, "network_advice_code": null, "network_decline_code": null,
            "network_status": "approved_by_network", "reason": null, "risk_level": "normal",
            "risk_score": 20, "seller_message": "Payment complete.", "type": "authorized",
        },
        "paid": false,
        "payment_intent": intent["id"],
        "payment_method": intent["payment_method"],
        "payment_method_details": method_details(intent, method),
        "receipt_email": null,
        "receipt_number": null,
        "receipt_url": null,
        "refunded": false,
        "review": null,
        "shipping": null,
        "source": null,
        "source_transfer": null,
        "statement_descriptor": null,
        "statement_descriptor_suffix": null,
        "status": "pending",
        "transfer_data": null,
        "transfer_group": null,
    })
}

fn method_details(intent: &Value, method: &str) -> Value {
    if method == "sepa_debit" {
        let debit = json!({
            "bank_code": "19043", "branch_code": "", "country": "AT",
            "fingerprint": "Sample1fingerprint", "last4": "3000", "mandate": null,
        });
        return json!({ "sepa_debit": debit, "type": method });
    }
    json!({
        "card": {
            "amount_authorized": intent["amount"], "authorization_code": null, "brand": "visa",
            "checks": {
                "address_line1_check": null, "address_postal_code_check": null, "cvc_check": "pass",
            },
            "country": "ES", "electronic_commerce_indicator": null, "exp_month": 4,
            "exp_year": 2031, "fingerprint": "Sample2fingerprint", "funding": "credit",
            "installments": null, "last4": "4242", "mandate": null, "network": "visa",
            "network_transaction_id": null, "regulated_status": "unregulated",
            "three_d_secure": null, "transaction_link_id": null, "wallet": null,
        },
        "type": method,
    })
}

/// The platform's fee on a charge.
pub(super) fn fee(state: &State, id: &str, account: &str, charge: &Value) -> Value {
    json!({
        "id": id,
        "object": "application_fee",
        "account": account,
        "amount": charge["application_fee_amount"],
        "amount_refunded": 0,
        "application": APPLICATION,
        "balance_transaction": id.replacen("fee_", "txn_", 1),
        "charge": charge["id"],
        "created": state.now(),
        "currency": charge["currency"],
        "fee_source": { "charge": charge["id"], "type": "charge" },
        "livemode": state.options.livemode,
        "originating_transaction": null,
        "refunded": false,
        "refunds": list(&format!("/v1/application_fees/{id}/refunds"), Vec::new()),
    })
}
