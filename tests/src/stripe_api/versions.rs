//! Objects in the shapes of older versions of the API.

use serde_json::{Value, json};

use crate::stripe::ApiVersion;

/// The object as it is in this version, with those that it holds. An invoice shows
/// its payments only where they are asked for.
pub(super) fn in_version(object: &Value, version: ApiVersion, payments: bool) -> Value {
    let mut object = object.clone();
    convert(&mut object, version, payments);
    object
}

fn convert(value: &mut Value, version: ApiVersion, payments: bool) {
    match value {
        Value::Array(items) => {
            for item in items {
                convert(item, version, payments);
            }
        }
        Value::Object(fields) => {
            for inner in fields.values_mut() {
                convert(inner, version, payments);
            }
        }
        _ => return,
    }
    match value.get("object").and_then(Value::as_str) {
        Some("account") => account(value, version),
        Some("invoice") => invoice(value, version, payments),
        Some("checkout.session") => session(value, version),
        _ => {}
    }
}

fn account(account: &mut Value, version: ApiVersion) {
    if version >= ApiVersion::V2022_11_15 {
        return;
    }
    remove(account, &["future_requirements", "controller", "groups"]);
    // Before controllers there were three types of accounts only.
    if account["type"] == "none" {
        account["type"] = "express".into();
    }
    remove(&mut account["requirements"], &["alternatives"]);
}

fn invoice(invoice: &mut Value, version: ApiVersion, payments: bool) {
    if version >= ApiVersion::V2025_03_31Basil {
        remove(invoice, &["charge"]);
        if !payments {
            remove(invoice, &["payments"]);
        }
        return;
    }
    let payment = invoice["payments"]["data"][0]["payment"].clone();
    let paid = invoice["status"] == "paid";
    for (name, value) in [
        ("discount", Value::Null),
        ("paid", paid.into()),
        ("paid_out_of_band", false.into()),
        ("payment_intent", payment["payment_intent"].clone()),
        ("quote", Value::Null),
        ("subscription", Value::Null),
        ("tax", Value::Null),
        ("total_tax_amounts", json!([])),
    ] {
        invoice[name] = value;
    }
    let newer = [
        "amount_overpaid",
        "parent",
        "payments",
        "total_pretax_credit_amounts",
        "total_taxes",
        "customer_account",
        "confirmation_secret",
    ];
    remove(invoice, &newer);
    for line in invoice["lines"]["data"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        old_line(line);
    }
    if version == ApiVersion::V2019_12_03 {
        invoice["tax_percent"] = Value::Null;
        invoice["payment_settings"] = Value::Null;
    }
}

fn old_line(line: &mut Value) {
    let amount = line["amount"].clone();
    line["price"] = json!({
        "id": line["pricing"]["price_details"]["price"], "object": "price", "active": false,
        "currency": line["currency"], "product": line["pricing"]["price_details"]["product"],
        "type": "one_time", "unit_amount": amount,
    });
    line["invoice_item"] = line["parent"]["invoice_item_details"]["invoice_item"].clone();
    line["type"] = "invoiceitem".into();
    line["plan"] = Value::Null;
    line["proration"] = false.into();
    line["tax_amounts"] = json!([]);
    line["tax_rates"] = json!([]);
    let newer = [
        "invoice",
        "parent",
        "pricing",
        "taxes",
        "subtotal",
        "quantity_decimal",
        "pretax_credit_amounts",
    ];
    remove(line, &newer);
}

fn session(session: &mut Value, version: ApiVersion) {
    if version >= ApiVersion::V2026_10_28Endive {
        return;
    }
    let mode = match session["ui_mode"].as_str() {
        Some("hosted_page") => "hosted",
        Some("embedded_page") => "embedded",
        _ => "custom",
    };
    session["ui_mode"] = mode.into();
    remove(
        session,
        &[
            "managed_payments",
            "integration_identifier",
            "allowed_payment_method_types",
        ],
    );
    remove(
        &mut session["customer_details"],
        &["business_name", "individual_name"],
    );
    if version >= ApiVersion::V2025_03_31Basil {
        return;
    }
    let newer = [
        "adaptive_pricing",
        "collected_information",
        "customer_account",
        "discounts",
        "origin_context",
        "permissions",
        "wallet_options",
    ];
    remove(session, &newer);
    let name = if version >= ApiVersion::V2022_11_15 {
        "shipping_details"
    } else {
        "shipping"
    };
    session[name] = Value::Null;
}

fn remove(object: &mut Value, names: &[&str]) {
    if let Some(object) = object.as_object_mut() {
        for name in names {
            object.remove(*name);
        }
    }
}
