//! Ids as types: an invoice and a Checkout Session can have one id, and neither
//! is an account.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! text_ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
            #[serde(transparent)]
            pub struct $name(Arc<str>);

            impl $name {
                /// The id as text.
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl From<String> for $name {
                fn from(id: String) -> Self {
                    Self(id.into())
                }
            }

            impl From<&str> for $name {
                fn from(id: &str) -> Self {
                    Self(id.into())
                }
            }

            impl Deref for $name {
                type Target = str;

                fn deref(&self) -> &str {
                    &self.0
                }
            }

            impl Borrow<str> for $name {
                fn borrow(&self) -> &str {
                    &self.0
                }
            }

            impl PartialEq<str> for $name {
                fn eq(&self, other: &str) -> bool {
                    &*self.0 == other
                }
            }

            impl PartialEq<&str> for $name {
                fn eq(&self, other: &&str) -> bool {
                    &*self.0 == *other
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }
        )+
    };
}

text_ids! {
    /// The id of an invoice, `in_...`.
    InvoiceId,
    /// The id of a Checkout Session, `cs_...`.
    CheckoutSessionId,
    /// The id of a connected account, `acct_...`; empty for the platform itself, whose
    /// events name no account.
    AccountId,
    /// The id of a charge, `ch_...` or `py_...`.
    ChargeId,
    /// The id of a credit note, `cn_...`.
    CreditNoteId,
    /// The id of a payment intent, `pi_...`.
    PaymentIntentId,
}

/// The id of a booking in the main app: a positive 32-bit integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BookingId(pub i32);

impl fmt::Display for BookingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An object that can name a booking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectId {
    /// An invoice names it in its metadata.
    Invoice(InvoiceId),
    /// A Checkout Session names it in its metadata or its `client_reference_id`.
    CheckoutSession(CheckoutSessionId),
}

impl ObjectId {
    /// The id as text, which does not tell the kind.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Invoice(id) => id,
            Self::CheckoutSession(id) => id,
        }
    }
}
