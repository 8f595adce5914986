//! What is given back of invoices, as it is asked for and as it is kept.

use std::collections::BTreeMap;

use crate::ids::{AccountId, InvoiceId, PaymentIntentId};

/// The most charges, and the most credit notes, that count for one invoice: the first by id. A
/// host can make as many notes as it likes, and an event of one has the others loaded.
pub const MAX_COUNTED: usize = 100;

/// What gives an account's charges or credit notes to invoices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefundKey {
    /// The charges that name this invoice.
    OfInvoice(AccountId, InvoiceId),
    /// The charges of this payment intent that name no invoice.
    OfPaymentIntent(AccountId, PaymentIntentId),
    /// The credit notes that are of this invoice and not void.
    NotesOf(AccountId, InvoiceId),
}

/// Amounts in minor units, by the id of the charge or note.
pub type Amounts = BTreeMap<String, i64>;

/// How much of an invoice was given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GivenBack {
    /// What was refunded, in the currency's minor units.
    pub refunded: i64,
    /// What was credited, in the currency's minor units.
    pub credited: i64,
}
