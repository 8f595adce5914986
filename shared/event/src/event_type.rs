//! The event types that the worker handles.
//!
//! This is the only list of them: the worker's queue is bound to [`EventType::ALL`],
//! ingest tells by it whether an event without a queue is an error, and the worker
//! decodes by it. To add a type of a known object, add its line.
//!
//! `dialoom.checkout.session.told` is not Stripe's: by it the worker tells itself what
//! Stripe's API said of a session that it made.

/// Defines [`EventType`] from one line a type: variant, Stripe's name, object.
macro_rules! event_types {
    ($($variant:ident = $name:literal of $object:ident,)+) => {
        /// A type of event that the worker handles.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventType {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
        }

        impl EventType {
            /// Every type, in the order of the list.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The type that Stripe calls `name`; `None` for one that is not handled.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// Stripe's name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The object that events of this type are about.
            #[must_use]
            pub fn object(self) -> ObjectType {
                match self {
                    $(Self::$variant => ObjectType::$object,)+
                }
            }
        }
    };
}

event_types! {
    AccountApplicationAuthorized = "account.application.authorized" of Account,
    AccountApplicationDeauthorized = "account.application.deauthorized" of Account,
    AccountUpdated = "account.updated" of Account,
    ChargeRefunded = "charge.refunded" of Charge,
    CheckoutSessionAsyncPaymentFailed = "checkout.session.async_payment_failed" of CheckoutSession,
    CheckoutSessionAsyncPaymentSucceeded = "checkout.session.async_payment_succeeded" of CheckoutSession,
    CheckoutSessionCompleted = "checkout.session.completed" of CheckoutSession,
    CheckoutSessionExpired = "checkout.session.expired" of CheckoutSession,
    CheckoutSessionTold = "dialoom.checkout.session.told" of CheckoutSession,
    CreditNoteCreated = "credit_note.created" of CreditNote,
    CreditNoteUpdated = "credit_note.updated" of CreditNote,
    CreditNoteVoided = "credit_note.voided" of CreditNote,
    InvoiceCreated = "invoice.created" of Invoice,
    InvoiceDeleted = "invoice.deleted" of Invoice,
    InvoiceFinalizationFailed = "invoice.finalization_failed" of Invoice,
    InvoiceFinalized = "invoice.finalized" of Invoice,
    InvoiceMarkedUncollectible = "invoice.marked_uncollectible" of Invoice,
    InvoicePaid = "invoice.paid" of Invoice,
    InvoicePaymentFailed = "invoice.payment_failed" of Invoice,
    InvoicePaymentSucceeded = "invoice.payment_succeeded" of Invoice,
    InvoiceSent = "invoice.sent" of Invoice,
    InvoiceUpdated = "invoice.updated" of Invoice,
    InvoiceVoided = "invoice.voided" of Invoice,
    V2AccountClosed = "v2.core.account.closed" of Account,
    V2AccountCreated = "v2.core.account.created" of Account,
    V2AccountDefaultsUpdated = "v2.core.account[defaults].updated" of Account,
    V2AccountFutureRequirementsUpdated = "v2.core.account[future_requirements].updated" of Account,
    V2AccountIdentityUpdated = "v2.core.account[identity].updated" of Account,
    V2AccountMerchantCapabilityStatusUpdated = "v2.core.account[configuration.merchant].capability_status_updated" of Account,
    V2AccountMerchantUpdated = "v2.core.account[configuration.merchant].updated" of Account,
    V2AccountRecipientCapabilityStatusUpdated = "v2.core.account[configuration.recipient].capability_status_updated" of Account,
    V2AccountRecipientUpdated = "v2.core.account[configuration.recipient].updated" of Account,
    V2AccountRequirementsUpdated = "v2.core.account[requirements].updated" of Account,
    V2AccountUpdated = "v2.core.account.updated" of Account,
}

impl EventType {
    /// Whether it is thin, as all of Stripe's version 2 are: it names its object and does not hold
    /// it.
    #[must_use]
    pub fn is_thin(self) -> bool {
        self.as_str().starts_with("v2.")
    }
}

/// The kinds of object that handled events are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectType {
    /// An invoice.
    Invoice,
    /// A Checkout Session.
    CheckoutSession,
    /// A connected account.
    Account,
    /// A charge.
    Charge,
    /// A credit note.
    CreditNote,
}

#[cfg(test)]
mod tests {
    use super::EventType;

    #[test]
    fn every_type_is_found_by_its_name_and_no_other_is() {
        for event_type in EventType::ALL {
            assert_eq!(EventType::parse(event_type.as_str()), Some(*event_type));
        }
        for unknown in ["", "invoice", "invoice.upcoming", "Invoice.paid"] {
            assert_eq!(EventType::parse(unknown), None, "{unknown}");
        }
    }
}
