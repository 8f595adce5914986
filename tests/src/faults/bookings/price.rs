//! What bookings cost, and whose they are.

/// Hosts that sell.
pub(in super::super) const HOSTS: i32 = 20;

/// The host that sells a booking, by the number of its id in the main app.
pub(in super::super) fn host(booking: i32) -> i32 {
    booking % HOSTS
}

/// What a booking costs, in cents.
pub(in super::super) fn price(booking: i32) -> i64 {
    2_000 + i64::from(booking % 3_001)
}

/// The platform's fee of it, in cents: a tenth, half a cent rounded up.
pub(in super::super) fn fee(booking: i32) -> i64 {
    (price(booking) + 5) / 10
}
