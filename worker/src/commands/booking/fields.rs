//! The fields of `booking.checkout`.

use domain::{
    ids::BookingId,
    price::{self, Share},
};
use serde_json::{Number, Value};

use super::read_booking;
use crate::commands::input::{self, Fields};

/// The shortest and the longest time that a session is open, in minutes, as Stripe allows.
const EXPIRES: std::ops::RangeInclusive<i64> = 30..=1440;
/// The longest description, as Stripe allows for a product's name.
const MAX_DESCRIPTION: usize = 250;
/// What the command says.
#[derive(Clone, Debug)]
pub struct Checkout {
    /// The booking.
    pub booking: BookingId,
    /// The host's id in the main app.
    pub host: String,
    /// What the guest pays before tax, in minor units.
    pub amount: i64,
    /// The currency, in small letters.
    pub currency: String,
    /// What the guest pays for.
    pub description: String,
    /// The guest's address, which Stripe fills in.
    pub email: Option<String>,
    /// Where Stripe sends a guest that has paid.
    pub success_url: String,
    /// Where Stripe sends a guest that turns back.
    pub cancel_url: String,
    /// The platform's share; that of the deployment else.
    pub fee: Option<Share>,
    /// Whether Stripe computes the tax; as the deployment sets it else.
    pub automatic_tax: Option<bool>,
    /// How long the session is open, in minutes; a day else.
    pub expires_in: Option<i64>,
    /// The language of Stripe's page.
    pub locale: Option<String>,
}

impl Checkout {
    /// Reads the fields.
    pub fn read(fields: &mut Fields) -> Self {
        let currency: String = fields.required("currency", input::currency);
        let amount = |value| price::amount(&decimal(value)?, &currency);
        Self {
            booking: read_booking(fields),
            host: fields.required("hostId", input::id),
            amount: fields.required("amount", amount),
            description: fields.required("description", description),
            email: fields.optional("customerEmail", input::email),
            success_url: fields.required("successUrl", input::text),
            cancel_url: fields.required("cancelUrl", input::text),
            fee: fields.optional("applicationFeePercent", |value| {
                Share::percent(&decimal(value)?).ok_or_else(|| "is no percentage".into())
            }),
            automatic_tax: fields.optional("automaticTax", flag),
            expires_in: fields.optional("expiresInMinutes", minutes),
            locale: fields.optional("locale", locale),
            currency,
        }
    }
}

/// A number as it was written, or a text of it.
fn decimal(value: Value) -> Result<String, String> {
    match value {
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text),
        _ => Err("is no number".into()),
    }
}

fn description(value: Value) -> Result<String, String> {
    let text = input::text(value)?;
    (text.chars().count() <= MAX_DESCRIPTION)
        .then_some(text)
        .ok_or_else(|| format!("is longer than {MAX_DESCRIPTION} characters"))
}

fn flag(value: Value) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| "is neither true nor false".into())
}

fn minutes(value: Value) -> Result<i64, String> {
    let minutes = value.as_number().and_then(Number::as_i64);
    let (least, most) = EXPIRES.into_inner();
    minutes
        .filter(|minutes| EXPIRES.contains(minutes))
        .ok_or_else(|| format!("is no whole number of minutes from {least} to {most}"))
}

fn locale(value: Value) -> Result<String, String> {
    let text = input::text(value)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (text.len() <= 10 && text.bytes().all(is_plain))
        .then_some(text)
        .ok_or_else(|| "is no locale of Stripe's, such as es or pt-BR".into())
}
