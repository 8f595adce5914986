//! The tables as Diesel sees them. Each column is described by a comment in
//! the database; see `migrations/`.

// Diesel makes a struct of each column, and would want a comment on each here
// as well.
#![allow(missing_docs)]

diesel::table! {
    /// The ledger: one row per event that the worker took.
    stripe.event (id) {
        id -> Text,
        #[sql_name = "type"]
        event_type -> Text,
        account -> Nullable<Text>,
        api_version -> Nullable<Text>,
        livemode -> Nullable<Bool>,
        created -> Timestamptz,
        object_id -> Nullable<Text>,
        outcome -> Text,
        reason -> Nullable<Text>,
        received_at -> Nullable<Timestamptz>,
        processed_at -> Timestamptz,
        attempts -> Integer,
        trace_id -> Nullable<Text>,
    }
}

diesel::table! {
    /// Every invoice ever seen.
    stripe.invoice (id) {
        id -> Text,
        account -> Text,
        claimed_booking_id -> Nullable<Integer>,
        booking_id -> Nullable<Integer>,
        status -> Text,
        total -> Nullable<BigInt>,
        currency -> Nullable<Text>,
        created -> Nullable<Timestamptz>,
        number -> Nullable<Text>,
        hosted_invoice_url -> Nullable<Text>,
        invoice_pdf -> Nullable<Text>,
        event_created -> Timestamptz,
        event_id -> Text,
        waiting -> Nullable<Text>,
        parts -> Nullable<Jsonb>,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// Every Checkout Session ever seen.
    stripe.checkout_session (id) {
        id -> Text,
        account -> Text,
        claimed_booking_id -> Nullable<Integer>,
        payment_status -> Nullable<Text>,
        status -> Nullable<Text>,
        invoice_id -> Nullable<Text>,
        payment_intent_id -> Nullable<Text>,
        event_created -> Timestamptz,
        event_id -> Text,
        parts -> Nullable<Jsonb>,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// Who says that which object is of a booking.
    stripe.booking_claim (booking_id, account, object_kind, object_id) {
        booking_id -> Integer,
        account -> Text,
        object_kind -> Text,
        object_id -> Text,
        event_created -> Timestamptz,
        event_id -> Text,
    }
}

diesel::table! {
    /// What a later event may still need to know of a connected account.
    stripe.account (id) {
        id -> Text,
        standing -> Nullable<Jsonb>,
        snapshot_event_id -> Nullable<Text>,
        undecided -> Bool,
        deauthorized_at -> Nullable<Timestamptz>,
        connected_at -> Nullable<Timestamptz>,
        first_event_at -> Nullable<Timestamptz>,
        updated_at -> Timestamptz,
    }
}
