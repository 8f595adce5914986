-- The worker's own tables. They live in a schema of their own, because the main
-- app's migrations would drop what they do not know in theirs.
--
-- The schema itself is made before the first migration runs: the list of
-- migrations lives in it.
--
-- Rows that are written several times within minutes (an invoice is drafted,
-- finalised and paid) leave room in their page for it, so that an update needs
-- no new entry in any index.

COMMENT ON TABLE stripe.__diesel_schema_migrations IS 'Which migrations have run.';
COMMENT ON COLUMN stripe.__diesel_schema_migrations.version IS 'The migration''s date and number.';
COMMENT ON COLUMN stripe.__diesel_schema_migrations.run_on IS 'When it ran.';

CREATE TABLE stripe.event (
    id text PRIMARY KEY,
    type text NOT NULL,
    account text,
    api_version text,
    livemode boolean,
    created timestamptz NOT NULL,
    object_id text,
    outcome text NOT NULL CHECK (outcome IN ('applied', 'stale', 'waiting', 'ignored', 'dead')),
    reason text,
    received_at timestamptz,
    processed_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 1,
    trace_id text
);
-- An invoice that no longer waits takes its events with it.
CREATE INDEX event_waiting_idx ON stripe.event (object_id) WHERE outcome = 'waiting';

COMMENT ON TABLE stripe.event IS 'The ledger: one row per event that the worker took, written in the transaction of its effect.';
COMMENT ON COLUMN stripe.event.id IS 'The event''s id, evt_...';
COMMENT ON COLUMN stripe.event.type IS 'The event''s type, such as invoice.paid.';
COMMENT ON COLUMN stripe.event.account IS 'The connected account; null for the platform''s own events.';
COMMENT ON COLUMN stripe.event.api_version IS 'The API version that the event''s object is written in.';
COMMENT ON COLUMN stripe.event.livemode IS 'Whether the event is of the live mode; null where it does not say.';
COMMENT ON COLUMN stripe.event.created IS 'When the event happened at Stripe; 1970 where it does not say.';
COMMENT ON COLUMN stripe.event.object_id IS 'The invoice, session or account that the event is about.';
COMMENT ON COLUMN stripe.event.outcome IS 'applied: it changed what is known. stale: all of it, or later, was known. waiting: its invoice has no booking to show it at yet. ignored: not for us. dead: it could not be applied.';
COMMENT ON COLUMN stripe.event.reason IS 'Why it waits, was ignored or is dead, as a code.';
COMMENT ON COLUMN stripe.event.received_at IS 'When ingest received it.';
COMMENT ON COLUMN stripe.event.processed_at IS 'When the outcome was written.';
COMMENT ON COLUMN stripe.event.attempts IS 'How often it was judged: 1, and one more for each time that a dead event was tried again.';
COMMENT ON COLUMN stripe.event.trace_id IS 'The W3C trace id of its delivery.';

CREATE TABLE stripe.invoice (
    id text PRIMARY KEY,
    account text NOT NULL,
    claimed_booking_id integer,
    booking_id integer,
    status text NOT NULL CHECK (status IN ('draft', 'open', 'uncollectible', 'paid', 'void', 'deleted')),
    total bigint,
    currency text,
    created timestamptz,
    number text,
    hosted_invoice_url text,
    invoice_pdf text,
    event_created timestamptz NOT NULL,
    event_id text NOT NULL,
    waiting text,
    parts jsonb,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
CREATE INDEX invoice_waiting_idx ON stripe.invoice (waiting, booking_id) WHERE waiting IS NOT NULL;

COMMENT ON TABLE stripe.invoice IS 'Every invoice ever seen, as it stands after all events taken.';
COMMENT ON COLUMN stripe.invoice.id IS 'The invoice''s id, in_...';
COMMENT ON COLUMN stripe.invoice.account IS 'The connected account that issued it; empty for the platform.';
COMMENT ON COLUMN stripe.invoice.claimed_booking_id IS 'The booking that the invoice''s own metadata names.';
COMMENT ON COLUMN stripe.invoice.booking_id IS 'The booking that it is of, by its metadata or its session.';
COMMENT ON COLUMN stripe.invoice.status IS 'Stripe''s status, or deleted.';
COMMENT ON COLUMN stripe.invoice.total IS 'Stripe''s total, in the currency''s minor units.';
COMMENT ON COLUMN stripe.invoice.currency IS 'The currency, in Stripe''s lower case.';
COMMENT ON COLUMN stripe.invoice.created IS 'When Stripe made the invoice.';
COMMENT ON COLUMN stripe.invoice.number IS 'The number that the guest sees.';
COMMENT ON COLUMN stripe.invoice.hosted_invoice_url IS 'The page at Stripe where it can be paid.';
COMMENT ON COLUMN stripe.invoice.invoice_pdf IS 'The PDF; null until the invoice is finalised.';
COMMENT ON COLUMN stripe.invoice.event_created IS 'The created of the event that gave the status.';
COMMENT ON COLUMN stripe.invoice.event_id IS 'The event that gave the status.';
COMMENT ON COLUMN stripe.invoice.waiting IS 'Why it is not shown to the main app although it could be, as a code.';
COMMENT ON COLUMN stripe.invoice.parts IS 'All that is known, where several events gave it and a later one may still need to know which; null where the columns say it all.';
COMMENT ON COLUMN stripe.invoice.updated_at IS 'When the row was last written.';

CREATE TABLE stripe.checkout_session (
    id text PRIMARY KEY,
    account text NOT NULL,
    claimed_booking_id integer,
    payment_status text,
    status text,
    invoice_id text,
    payment_intent_id text,
    event_created timestamptz NOT NULL,
    event_id text NOT NULL,
    parts jsonb,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
CREATE INDEX checkout_session_invoice_idx ON stripe.checkout_session (invoice_id);

COMMENT ON TABLE stripe.checkout_session IS 'Every Checkout Session ever seen: the link between a booking and its invoice.';
COMMENT ON COLUMN stripe.checkout_session.id IS 'The session''s id, cs_...';
COMMENT ON COLUMN stripe.checkout_session.account IS 'The connected account that it was made on; empty for the platform.';
COMMENT ON COLUMN stripe.checkout_session.claimed_booking_id IS 'The booking that its metadata or client_reference_id names.';
COMMENT ON COLUMN stripe.checkout_session.payment_status IS 'unpaid, paid or no_payment_required; never back to unpaid.';
COMMENT ON COLUMN stripe.checkout_session.status IS 'open, complete or expired; never back to open.';
COMMENT ON COLUMN stripe.checkout_session.invoice_id IS 'Its invoice; the first one named stays.';
COMMENT ON COLUMN stripe.checkout_session.payment_intent_id IS 'Its payment intent; the first one named stays.';
COMMENT ON COLUMN stripe.checkout_session.event_created IS 'The created of the latest event taken.';
COMMENT ON COLUMN stripe.checkout_session.event_id IS 'The latest event taken.';
COMMENT ON COLUMN stripe.checkout_session.parts IS 'All that is known, where several events gave it; null where the columns say it all.';
COMMENT ON COLUMN stripe.checkout_session.updated_at IS 'When the row was last written.';

CREATE TABLE stripe.booking_claim (
    booking_id integer NOT NULL,
    account text NOT NULL,
    object_kind text NOT NULL CHECK (object_kind IN ('invoice', 'session')),
    object_id text NOT NULL,
    event_created timestamptz NOT NULL,
    event_id text NOT NULL,
    PRIMARY KEY (booking_id, account, object_kind, object_id)
);

COMMENT ON TABLE stripe.booking_claim IS 'Who says that which object is of a booking, each with its first event. The earliest decides whose the booking is, where the deployment has no query of its own.';
COMMENT ON COLUMN stripe.booking_claim.booking_id IS 'The booking in the main app.';
COMMENT ON COLUMN stripe.booking_claim.account IS 'The event''s account; empty for the platform.';
COMMENT ON COLUMN stripe.booking_claim.object_kind IS 'invoice or session.';
COMMENT ON COLUMN stripe.booking_claim.object_id IS 'The object that names the booking.';
COMMENT ON COLUMN stripe.booking_claim.event_created IS 'The created of the earliest event that did.';
COMMENT ON COLUMN stripe.booking_claim.event_id IS 'The earliest event that did.';

CREATE TABLE stripe.account (
    id text PRIMARY KEY,
    standing jsonb,
    snapshot_event_id text,
    undecided boolean NOT NULL DEFAULT false,
    deauthorized_at timestamptz,
    connected_at timestamptz,
    first_event_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
CREATE INDEX account_undecided_idx ON stripe.account (id) WHERE undecided;

COMMENT ON TABLE stripe.account IS 'What a later event may still need to know of a connected account. What the main app reads is in "HostOnboarding".';
COMMENT ON COLUMN stripe.account.id IS 'The account''s id, acct_...';
COMMENT ON COLUMN stripe.account.standing IS 'The snapshots of the newest second, by event.';
COMMENT ON COLUMN stripe.account.snapshot_event_id IS 'The event whose snapshot stands.';
COMMENT ON COLUMN stripe.account.undecided IS 'Several different snapshots could be the last of their second: the API has to be asked.';
COMMENT ON COLUMN stripe.account.deauthorized_at IS 'The newest deauthorisation.';
COMMENT ON COLUMN stripe.account.connected_at IS 'The newest other sign of connection.';
COMMENT ON COLUMN stripe.account.first_event_at IS 'The oldest event taken.';
COMMENT ON COLUMN stripe.account.updated_at IS 'When the row was last written.';

CREATE TABLE stripe.account_transition (
    account_id text NOT NULL,
    event_created timestamptz NOT NULL,
    event_id text NOT NULL,
    sign text NOT NULL CHECK (sign IN ('updated', 'authorized', 'deauthorized')),
    status text,
    can_sell boolean,
    disabled_reason text,
    current_deadline timestamptz,
    PRIMARY KEY (account_id, event_created, event_id)
);

COMMENT ON TABLE stripe.account_transition IS 'The history of a host: one row per event of the account, with the status that its snapshot alone gives.';
COMMENT ON COLUMN stripe.account_transition.account_id IS 'The account.';
COMMENT ON COLUMN stripe.account_transition.event_created IS 'When it happened at Stripe.';
COMMENT ON COLUMN stripe.account_transition.event_id IS 'The event.';
COMMENT ON COLUMN stripe.account_transition.sign IS 'updated: a snapshot. authorized, deauthorized: the connection.';
COMMENT ON COLUMN stripe.account_transition.status IS 'The status, as "HostOnboarding" would show it; null where the event has no snapshot.';
COMMENT ON COLUMN stripe.account_transition.can_sell IS 'Whether a guest could pay the host.';
COMMENT ON COLUMN stripe.account_transition.disabled_reason IS 'Stripe''s reason for holding the account back.';
COMMENT ON COLUMN stripe.account_transition.current_deadline IS 'When Stripe will hold the account back.';
