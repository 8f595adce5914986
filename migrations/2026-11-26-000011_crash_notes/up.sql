-- A delivery that came back to the queue several times may be what its workers died of. It is
-- handled alone, and each try is noted here before it begins, so that the next worker knows
-- of it if this one dies.
--
-- A new table and a comment: nothing is rewritten.

CREATE TABLE stripe.crash_note (
    id text PRIMARY KEY,
    tries integer NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE stripe.crash_note IS 'Deliveries that are handled alone now, or whose worker died meanwhile. A try that ends in any other way takes its row away.';
COMMENT ON COLUMN stripe.crash_note.id IS 'The message''s id, which is the event''s; sha256- and the hash of the bytes of a message without one that can be kept.';
COMMENT ON COLUMN stripe.crash_note.tries IS 'How many tries in succession have begun. The event is given up after five.';
COMMENT ON COLUMN stripe.crash_note.first_at IS 'When the first of them began.';
COMMENT ON COLUMN stripe.crash_note.last_at IS 'When the last of them began.';

-- The worker gives up what crashes it; the broker only where a queue has a limit.
COMMENT ON COLUMN stripe.dead_letter.origin IS 'Who gave it up. worker: it cannot be applied, or workers die of it. delivery_limit: the broker, at the limit of a queue that has one. broker: the broker, for another reason.';
