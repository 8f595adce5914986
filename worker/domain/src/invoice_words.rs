//! In words: why an invoice is not final yet.

use crate::invoice::FinalizationError;

impl FinalizationError {
    /// The error in one sentence. A code that is not known here is said as it is.
    pub fn words(&self) -> String {
        let known = match self.code.as_deref() {
            Some("customer_tax_location_invalid") => {
                "Stripe cannot tell from the guest's address which tax applies"
            }
            Some("stripe_tax_inactive") => "the host has not set up Stripe Tax",
            Some("taxes_calculation_failed") => "Stripe could not calculate the tax",
            Some("tax_id_invalid") => "a tax id is not valid",
            Some("invoice_no_customer_line_items") => "it has no items",
            Some("account_invalid" | "account_closed") => "the host's account cannot issue it",
            _ => "",
        };
        let code = self.code.as_deref().unwrap_or("no code");
        match known {
            "" => format!("cannot be finalised: {code} ({})", self.kind),
            known => format!("cannot be finalised: {known} ({code})"),
        }
    }
}

/// How far an invoice's tax was calculated, in words.
pub fn tax_words(status: &str) -> &str {
    match status {
        "complete" => "tax calculated",
        "failed" => "the tax could not be calculated, and Stripe tries again",
        "requires_location_inputs" => "the guest's location is missing, so no tax is calculated",
        other => other,
    }
}
