-- News for the main app: what changes in its tables is noted in the same transaction, and
-- published from here. Nothing is written while CHANGES is no.
--
-- Two new tables: nothing is locked and nothing is rewritten.

CREATE TABLE stripe.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    key text NOT NULL,
    row_version bigint NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'published', 'unheard')),
    published_at timestamptz,
    CHECK ((published_at IS NULL) = (state = 'waiting'))
);
CREATE INDEX outbox_waiting_idx ON stripe.outbox (id) WHERE state = 'waiting';
CREATE INDEX outbox_created_at_idx ON stripe.outbox (created_at);

COMMENT ON TABLE stripe.outbox IS 'News for the main app: one row for each change of its rows, written in the transaction of the change. Rows are kept for 7 days to be published again.';
COMMENT ON COLUMN stripe.outbox.id IS 'The id of the message, and the order: writers hold one lock until they commit, so a smaller id is committed first.';
COMMENT ON COLUMN stripe.outbox.kind IS 'What happened, such as booking.invoice.paid: the routing key of the message.';
COMMENT ON COLUMN stripe.outbox.key IS 'The booking''s id, or the host''s connected account.';
COMMENT ON COLUMN stripe.outbox.row_version IS 'The number of the change among those of the same booking or host.';
COMMENT ON COLUMN stripe.outbox.payload IS 'Ids and facts, as the message has them. Nothing personal.';
COMMENT ON COLUMN stripe.outbox.created_at IS 'When the transaction of the change began.';
COMMENT ON COLUMN stripe.outbox.state IS 'waiting: it is to be published. published: a queue has it. unheard: no queue was bound when it was published.';
COMMENT ON COLUMN stripe.outbox.published_at IS 'When it was last published.';

CREATE TABLE stripe.outbox_version (
    subject text NOT NULL CHECK (subject IN ('booking', 'host')),
    key text NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (subject, key)
);

COMMENT ON TABLE stripe.outbox_version IS 'How many changes of each booking and host were noted in stripe.outbox, also of those whose rows were removed since.';
COMMENT ON COLUMN stripe.outbox_version.subject IS 'booking or host.';
COMMENT ON COLUMN stripe.outbox_version.key IS 'The booking''s id, or the host''s connected account.';
COMMENT ON COLUMN stripe.outbox_version.version IS 'The number of the latest change.';
