-- What Stripe says is applied whatever becomes of the main app's rows. A row that cannot be
-- written now is noted here, and a job tries it again.
--
-- A new table: nothing is locked and nothing is rewritten.

CREATE TABLE stripe.pending_projection (
    kind text NOT NULL CHECK (kind IN ('booking', 'host')),
    id text NOT NULL,
    object_id text,
    reason text NOT NULL,
    detail text NOT NULL,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    tries integer NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, id)
);
CREATE INDEX pending_projection_due_idx ON stripe.pending_projection (next_try_at) WHERE tries > 0;
CREATE INDEX pending_projection_new_idx ON stripe.pending_projection (next_try_at) WHERE tries = 0;

COMMENT ON TABLE stripe.pending_projection IS 'Rows of the main app''s tables that could not be read or written yet. The events behind them are applied.';
COMMENT ON COLUMN stripe.pending_projection.kind IS 'booking: the row of "Invoice" of a booking. host: the row of "HostOnboarding" of an account.';
COMMENT ON COLUMN stripe.pending_projection.id IS 'The booking''s id or the account''s.';
COMMENT ON COLUMN stripe.pending_projection.object_id IS 'The invoice that the row is to show or shows, where one is known; of a host, the account.';
COMMENT ON COLUMN stripe.pending_projection.reason IS 'What is in the way, as a code.';
COMMENT ON COLUMN stripe.pending_projection.detail IS 'What the database said.';
COMMENT ON COLUMN stripe.pending_projection.first_at IS 'When it first could not be written.';
COMMENT ON COLUMN stripe.pending_projection.last_at IS 'When it was last tried.';
COMMENT ON COLUMN stripe.pending_projection.tries IS 'How often it was tried: 0 where there was no time for it.';
COMMENT ON COLUMN stripe.pending_projection.next_try_at IS 'When it is tried again.';
