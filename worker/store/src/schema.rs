//! The tables of which Diesel builds queries. Each column is described by a comment in
//! the database; see `migrations/`.

// Diesel makes a struct of each column, and would want a comment on each here as well.
#![allow(missing_docs)]

diesel::table! {
    /// The ledger: one row for each event.
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
        archive_page_id -> Nullable<BigInt>,
    }
}

diesel::table! {
    /// The columns by which accounts are found: those that the API has to be asked about,
    /// and those of a host.
    stripe.account (id) {
        id -> Text,
        api_needed -> Bool,
        host_id -> Nullable<Text>,
    }
}

diesel::table! {
    /// The columns by which operators look for dead letters.
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
    /// The bytes of events, many to a page.
    stripe.event_archive (id) {
        id -> BigInt,
        stored_at -> Timestamptz,
        event_ids -> Array<Text>,
        ends -> Array<Integer>,
        bytes -> Binary,
    }
}

diesel::allow_tables_to_appear_in_same_query!(event, event_archive);
