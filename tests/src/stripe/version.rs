//! Versions of Stripe's API, whose objects differ.

/// A version of the API. An event keeps the version of the endpoint that it was
/// made for, so that all of these arrive at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiVersion {
    /// Invoices with `payment_intent`, `paid` and `charge`; sessions with
    /// `display_items`.
    V2019_12_03,
    /// As most older integrations have it.
    V2020_08_27,
    /// Sessions with `shipping_details`.
    V2022_11_15,
    /// The last one of the old shape of invoices.
    V2024_06_20,
    /// Invoices without `payment_intent`, `paid`, `charge` and `subscription`.
    #[default]
    V2025_03_31Basil,
    /// A later one.
    V2025_09_30Clover,
    /// The one of the newest type definitions.
    V2026_10_28Endive,
}

impl ApiVersion {
    /// All of them, oldest first.
    pub const ALL: [Self; 7] = [
        Self::V2019_12_03,
        Self::V2020_08_27,
        Self::V2022_11_15,
        Self::V2024_06_20,
        Self::V2025_03_31Basil,
        Self::V2025_09_30Clover,
        Self::V2026_10_28Endive,
    ];

    /// The newest one.
    pub const NEWEST: Self = Self::ALL[Self::ALL.len() - 1];

    /// Its name at Stripe.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V2019_12_03 => "2019-12-03",
            Self::V2020_08_27 => "2020-08-27",
            Self::V2022_11_15 => "2022-11-15",
            Self::V2024_06_20 => "2024-06-20",
            Self::V2025_03_31Basil => "2025-03-31.basil",
            Self::V2025_09_30Clover => "2025-09-30.clover",
            Self::V2026_10_28Endive => "2026-10-28.endive",
        }
    }
}
