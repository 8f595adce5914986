//! What was given back of an invoice, and why it is not final, in words.

use domain::{invoice_words::tax_words, money};
use store::invoice_query::KnownInvoice;

/// An amount of the invoice with its currency; in minor units where that is not known.
pub(super) fn amount(invoice: &KnownInvoice, minor: i64) -> String {
    match &invoice.currency {
        Some(currency) => format!("{} {currency}", money::major(minor, currency)),
        None => format!("{minor} minor units"),
    }
}

/// As [`amount`]; nothing where it is zero.
pub(super) fn some(invoice: &KnownInvoice, minor: i64) -> String {
    match minor {
        0 => String::new(),
        minor => amount(invoice, minor),
    }
}

/// As [`some`], with the total of which it is.
fn part(invoice: &KnownInvoice, minor: i64) -> String {
    match (minor, invoice.total) {
        (0, _) | (_, None) => some(invoice, minor),
        (minor, Some(total)) => {
            format!("{} of {}", amount(invoice, minor), amount(invoice, total))
        }
    }
}

/// Why the draft could not be finalised; nothing where it could, or nobody tried.
pub(super) fn not_final(invoice: &KnownInvoice) -> String {
    let error = invoice.finalization_error();
    error.map(|error| error.words()).unwrap_or_default()
}

/// The lines of a card.
pub(in crate::cli) fn fields(invoice: &KnownInvoice) -> Vec<(&'static str, String)> {
    let tax = invoice.automatic_tax_status.as_deref().map(tax_words);
    vec![
        ("Refunded", part(invoice, invoice.amount_refunded)),
        ("Credited", part(invoice, invoice.amount_credited)),
        ("Not final", not_final(invoice)),
        ("Tax", tax.unwrap_or_default().to_owned()),
    ]
}
