//! The tables as Diesel sees them. Each column is described by a comment in
//! the database; see `migrations/`.

// Diesel makes a struct of each column, and would want a comment on each here
// as well.
#![allow(missing_docs)]

diesel::table! {
    /// The ledger: one row per event that the worker took. `claimed_booking_id`
    /// is read by no query of Diesel's.
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
        source -> Text,
        first_seen_at -> Timestamptz,
        kept_in -> Nullable<BigInt>,
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

diesel::table! {
    /// The record of every message that could not be applied: what it is
    /// looked for by. The rest is read whole, by SQL.
    stripe.dead_letter (id) {
        id -> Text,
        #[sql_name = "type"]
        event_type -> Nullable<Text>,
        account -> Nullable<Text>,
        reason -> Text,
        first_at -> Timestamptz,
        last_at -> Timestamptz,
        attempts -> Integer,
        state -> Text,
        changed_at -> Timestamptz,
        changed_by -> Text,
    }
}

diesel::table! {
    /// Each time that an operator sent events again.
    stripe.replay (id) {
        id -> BigInt,
        kind -> Text,
        replayed_by -> Text,
        selection -> Text,
        started_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
        published -> BigInt,
    }
}

diesel::table! {
    /// One event of one replay, and what came of it.
    stripe.replay_item (replay_id, item_id) {
        replay_id -> BigInt,
        item_id -> Text,
        published_at -> Nullable<Timestamptz>,
        outcome -> Nullable<Text>,
        reason -> Nullable<Text>,
        judged_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// The bytes of applied events, many to a page.
    stripe.kept_page (id) {
        id -> BigInt,
        stored_at -> Timestamptz,
        event_ids -> Array<Text>,
        ends -> Array<Integer>,
        bytes -> Binary,
    }
}

diesel::joinable!(replay_item -> replay (replay_id));
diesel::allow_tables_to_appear_in_same_query!(replay, replay_item, event, kept_page);
