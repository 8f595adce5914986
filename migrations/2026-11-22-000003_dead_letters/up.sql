-- What operators work with: the record of dead letters, replays with what came
-- of them, and the kept bytes of applied events.

ALTER TABLE stripe.event
    ADD COLUMN source text NOT NULL DEFAULT 'webhook'
        CHECK (source IN ('webhook', 'replay', 'reconcile')),
    ADD COLUMN first_seen_at timestamptz NOT NULL DEFAULT now();
UPDATE stripe.event SET first_seen_at = processed_at;
ALTER TABLE stripe.event DROP CONSTRAINT event_outcome_check;
ALTER TABLE stripe.event ADD CONSTRAINT event_outcome_check
    CHECK (outcome IN ('applied', 'stale', 'waiting', 'ignored', 'dead', 'replayed'));
-- Pages of the ledger, and its retention. All rows of a unit share one value, so
-- the index stays small.
CREATE INDEX event_first_seen_idx ON stripe.event (first_seen_at);
-- The few events that are not all right.
CREATE INDEX event_dead_idx ON stripe.event (first_seen_at) WHERE outcome IN ('dead', 'replayed');

COMMENT ON COLUMN stripe.event.source IS 'What brought the delivery that gave the outcome: webhook, replay (an operator), or reconcile.';
COMMENT ON COLUMN stripe.event.first_seen_at IS 'When the worker first judged it.';
COMMENT ON COLUMN stripe.event.outcome IS 'applied: it changed what is known. stale: all of it, or later, was known. waiting: its invoice has no booking to show it at yet. ignored: not for us. dead: it could not be applied. replayed: it was dead, was sent again, and is not judged yet.';

CREATE TABLE stripe.replay (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('dead_letters', 'events')),
    replayed_by text NOT NULL,
    selection text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    published bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE stripe.replay IS 'Each time that an operator sent events again.';
COMMENT ON COLUMN stripe.replay.id IS 'The number of the run; messages carry it in the header replay_id.';
COMMENT ON COLUMN stripe.replay.kind IS 'dead_letters: what could not be applied. events: what was applied, to be judged again.';
COMMENT ON COLUMN stripe.replay.replayed_by IS 'Who did it.';
COMMENT ON COLUMN stripe.replay.selection IS 'What was asked for, as the command line said it.';
COMMENT ON COLUMN stripe.replay.started_at IS 'When it began.';
COMMENT ON COLUMN stripe.replay.ended_at IS 'When its last message was published; null while it runs, or if it was killed.';
COMMENT ON COLUMN stripe.replay.published IS 'How many messages the broker has confirmed.';

CREATE TABLE stripe.replay_item (
    replay_id bigint NOT NULL REFERENCES stripe.replay ON DELETE CASCADE,
    item_id text NOT NULL,
    published_at timestamptz,
    outcome text CHECK (outcome IN ('applied', 'stale', 'waiting', 'ignored', 'duplicate', 'dead', 'unroutable', 'abandoned')),
    reason text,
    judged_at timestamptz,
    PRIMARY KEY (replay_id, item_id)
);
-- What became of one event, over all replays.
CREATE INDEX replay_item_idx ON stripe.replay_item (item_id);
-- What a run waits for, and what a killed run left behind.
CREATE INDEX replay_item_open_idx ON stripe.replay_item (replay_id) WHERE outcome IS NULL;
COMMENT ON TABLE stripe.replay_item IS 'One event of one replay, and what came of it.';
COMMENT ON COLUMN stripe.replay_item.replay_id IS 'The run.';
COMMENT ON COLUMN stripe.replay_item.item_id IS 'The id of the dead letter or of the event.';
COMMENT ON COLUMN stripe.replay_item.published_at IS 'When the broker confirmed it.';
COMMENT ON COLUMN stripe.replay_item.outcome IS 'As the ledger; duplicate: it had been applied already. unroutable: no queue takes its type. abandoned: the run was killed before the confirm. Null: not judged yet.';
COMMENT ON COLUMN stripe.replay_item.reason IS 'Why, as a code.';
COMMENT ON COLUMN stripe.replay_item.judged_at IS 'When the outcome was known.';

CREATE TABLE stripe.dead_letter (
    id text PRIMARY KEY,
    event_id text,
    type text,
    account text,
    api_version text,
    livemode boolean,
    created timestamptz,
    routing_key text NOT NULL,
    body bytea NOT NULL,
    properties jsonb NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    origin text NOT NULL CHECK (origin IN ('worker', 'delivery_limit', 'broker')),
    mark text NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    state text NOT NULL DEFAULT 'dead' CHECK (state IN ('dead', 'replayed', 'resolved', 'discarded')),
    replay_id bigint,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL DEFAULT 'worker'
);
-- Pages go by (first_at, id), which never change; one index for each filter.
CREATE INDEX dead_letter_page_idx ON stripe.dead_letter (first_at, id);
CREATE INDEX dead_letter_state_idx ON stripe.dead_letter (state, first_at, id);
CREATE INDEX dead_letter_reason_idx ON stripe.dead_letter (reason, first_at, id);
CREATE INDEX dead_letter_type_idx ON stripe.dead_letter (type, first_at, id);
CREATE INDEX dead_letter_account_idx ON stripe.dead_letter (account, first_at, id);

COMMENT ON TABLE stripe.dead_letter IS 'The record of every message that could not be applied: one row per event, however often it fails.';
COMMENT ON COLUMN stripe.dead_letter.id IS 'The event''s id; sha256- and the hash of the bytes where it cannot be read.';
COMMENT ON COLUMN stripe.dead_letter.event_id IS 'The event''s id, where the body or the message''s properties tell it.';
COMMENT ON COLUMN stripe.dead_letter.type IS 'The event''s type, where it can be read.';
COMMENT ON COLUMN stripe.dead_letter.account IS 'The connected account, where there is one.';
COMMENT ON COLUMN stripe.dead_letter.api_version IS 'The API version of the event''s object.';
COMMENT ON COLUMN stripe.dead_letter.livemode IS 'Whether the event is of the live mode.';
COMMENT ON COLUMN stripe.dead_letter.created IS 'When the event happened at Stripe.';
COMMENT ON COLUMN stripe.dead_letter.routing_key IS 'The routing key that it was published with.';
COMMENT ON COLUMN stripe.dead_letter.body IS 'The exact bytes that Stripe signed. They hold personal data.';
COMMENT ON COLUMN stripe.dead_letter.properties IS 'All AMQP properties and headers as they reached the dead letters, each value with its AMQP type.';
COMMENT ON COLUMN stripe.dead_letter.reason IS 'Why it could not be applied, as a code.';
COMMENT ON COLUMN stripe.dead_letter.detail IS 'Why, in a sentence.';
COMMENT ON COLUMN stripe.dead_letter.origin IS 'worker: its verdict. delivery_limit: its handler crashed each time. broker: the broker gave it up for another reason.';
COMMENT ON COLUMN stripe.dead_letter.mark IS 'What tells its last death from the one before, so that one death is counted once.';
COMMENT ON COLUMN stripe.dead_letter.first_at IS 'When it first died.';
COMMENT ON COLUMN stripe.dead_letter.last_at IS 'When it last died.';
COMMENT ON COLUMN stripe.dead_letter.attempts IS 'How often it died.';
COMMENT ON COLUMN stripe.dead_letter.state IS 'dead: it waits for an operator. replayed: sent again, not judged yet. resolved: applied after all. discarded: an operator gave it up.';
COMMENT ON COLUMN stripe.dead_letter.replay_id IS 'The last replay that took it; of a resolved one, the replay that resolved it, null if a delivery by Stripe did.';
COMMENT ON COLUMN stripe.dead_letter.changed_at IS 'When the state was last changed.';
COMMENT ON COLUMN stripe.dead_letter.changed_by IS 'Who changed it last: worker, or an operator.';

CREATE TABLE stripe.event_body (
    event_id text PRIMARY KEY,
    stored_at timestamptz NOT NULL DEFAULT now(),
    body bytea NOT NULL
);
-- The bytes are compressed already; Postgres should not try again.
ALTER TABLE stripe.event_body ALTER COLUMN body SET STORAGE EXTERNAL;
-- Rows come in the order of time, so this costs next to nothing.
CREATE INDEX event_body_stored_idx ON stripe.event_body USING brin (stored_at);
COMMENT ON TABLE stripe.event_body IS 'The bytes of applied events, so that they can be judged again. They hold personal data; KEEP_EVENTS_DAYS says for how long, 0 for never.';
COMMENT ON COLUMN stripe.event_body.event_id IS 'The event.';
COMMENT ON COLUMN stripe.event_body.stored_at IS 'When it was stored.';
COMMENT ON COLUMN stripe.event_body.body IS 'The exact bytes that Stripe signed, compressed with zstd.';
