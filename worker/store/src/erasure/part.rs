//! The tables in which an account can have many rows.

/// The ledger.
pub(super) const LEDGER: &str = "stripe.event";

/// A table with many rows of an account. It is read by its primary key, since no index of its own
/// leads from an account to its rows: each event would have to pay for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The ledger, with the dead letters of its events.
    Events,
    /// Dead letters, also those whose events the ledger no longer knows.
    DeadLetters,
    /// Invoices, with what is kept of each elsewhere.
    Invoices,
    /// Sessions, with what is kept of each elsewhere.
    Sessions,
    /// Claims on bookings.
    Claims,
    /// Charges.
    Charges,
    /// Credit notes.
    CreditNotes,
    /// What commands had Stripe make.
    Commands,
}

impl Part {
    /// In the order in which they are erased. The ledger's rows are the ones that say whose an
    /// archived event or an unreadable dead letter is, so the bytes are erased before them.
    pub const ALL: [Self; 8] = [
        Self::Events,
        Self::DeadLetters,
        Self::Invoices,
        Self::Sessions,
        Self::Claims,
        Self::Charges,
        Self::CreditNotes,
        Self::Commands,
    ];

    /// What it is, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::DeadLetters => "dead letters",
            Self::Invoices => "invoices",
            Self::Sessions => "sessions",
            Self::Claims => "claims",
            Self::Charges => "charges",
            Self::CreditNotes => "credit notes",
            Self::Commands => "commands",
        }
    }

    /// The table, the first column of its primary key, and which rows are of the account.
    pub(super) fn table(self) -> (&'static str, &'static str, &'static str) {
        const OF_ACCOUNT: &str = "account = $1";
        const OF_OBJECT: &str = "account = $1 OR object_id = $1";
        match self {
            Self::Events => (LEDGER, "id", OF_OBJECT),
            // Those of its events go with them.
            Self::DeadLetters => (
                "stripe.dead_letter",
                "id",
                "account = $1 AND NOT EXISTS (SELECT FROM stripe.event e \
                    WHERE e.id = dead_letter.id AND (e.account = $1 OR e.object_id = $1))",
            ),
            Self::Invoices => ("stripe.invoice", "id", OF_ACCOUNT),
            Self::Sessions => ("stripe.checkout_session", "id", OF_ACCOUNT),
            // Those of its invoices and sessions go with them.
            Self::Claims => (
                "stripe.booking_claim",
                "object_id",
                "account = $1 AND NOT EXISTS (SELECT FROM stripe.invoice i \
                    WHERE object_kind = 'invoice' AND i.id = object_id AND i.account = $1) \
                 AND NOT EXISTS (SELECT FROM stripe.checkout_session s \
                    WHERE object_kind = 'session' AND s.id = object_id AND s.account = $1)",
            ),
            Self::Charges => ("stripe.charge", "id", OF_ACCOUNT),
            Self::CreditNotes => ("stripe.credit_note", "id", OF_ACCOUNT),
            Self::Commands => ("stripe.command", "key", OF_OBJECT),
        }
    }

    /// What is kept elsewhere of rows of it, by their ids: table and condition.
    pub(super) fn beside(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Events => &[("stripe.dead_letter", "id = ANY($2)")],
            Self::Invoices => &[
                ("stripe.pending_projection", "object_id = ANY($2)"),
                ("stripe.late_outcome", "kind = 'invoice' AND id = ANY($2)"),
                (
                    "stripe.booking_claim",
                    "object_kind = 'invoice' AND object_id = ANY($2)",
                ),
                ("stripe.outbox_refund", "invoice_id = ANY($2)"),
            ],
            Self::Sessions => &[
                ("stripe.late_outcome", "kind = 'session' AND id = ANY($2)"),
                (
                    "stripe.booking_claim",
                    "object_kind = 'session' AND object_id = ANY($2)",
                ),
            ],
            Self::DeadLetters
            | Self::Claims
            | Self::Charges
            | Self::CreditNotes
            | Self::Commands => &[],
        }
    }
}
