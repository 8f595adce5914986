-- What the database remembers of its deployment, and how events are found that a worker of
-- an earlier release did not handle.
--
-- Touches no table of the main app. The new table is locked by nobody else. The index reads
-- stripe.event once, a second or so for a million rows: nobody can write the ledger until it
-- is made, and readers go on.

CREATE TABLE stripe.deployment (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    mode text NOT NULL CHECK (mode IN ('live', 'test')),
    app_schema text NOT NULL,
    amqp_prefix text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE stripe.deployment IS 'The deployment that this database belongs to, as its first start gave it. A worker that is configured otherwise does not start.';
COMMENT ON COLUMN stripe.deployment.is_only IS 'Always true: there is one row at most.';
COMMENT ON COLUMN stripe.deployment.mode IS 'STRIPE_MODE: live or test.';
COMMENT ON COLUMN stripe.deployment.app_schema IS 'The schema of the main app''s tables.';
COMMENT ON COLUMN stripe.deployment.amqp_prefix IS 'AMQP_PREFIX; empty where there is none.';
COMMENT ON COLUMN stripe.deployment.started_at IS 'When the first worker started.';

CREATE INDEX event_unhandled_idx ON stripe.event (first_seen_at)
    WHERE outcome = 'ignored' AND reason = 'unhandled_type';
COMMENT ON TABLE stripe.event_archive IS 'The bytes of events that were applied, or whose type was not handled, so that they can be decided again, many to a page. They hold personal data; KEEP_EVENTS_DAYS says for how long, 0 for never.';
COMMENT ON COLUMN stripe.replay.kind IS 'dead_letters: events that could not be applied. events: events that had their effect, or whose type was not handled, to be decided again.';
