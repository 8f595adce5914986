CREATE TABLE stripe.event_body (
    event_id text PRIMARY KEY,
    stored_at timestamptz NOT NULL DEFAULT now(),
    body bytea NOT NULL
);
ALTER TABLE stripe.event_body ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX event_body_stored_idx ON stripe.event_body USING brin (stored_at);
COMMENT ON TABLE stripe.event_body IS 'The bytes of applied events, so that they can be judged again. They hold personal data; KEEP_EVENTS_DAYS says for how long, 0 for never.';
COMMENT ON COLUMN stripe.event_body.event_id IS 'The event.';
COMMENT ON COLUMN stripe.event_body.stored_at IS 'When it was stored.';
COMMENT ON COLUMN stripe.event_body.body IS 'The exact bytes that Stripe signed, compressed with zstd.';

-- Only a page with one event can be taken over: SQL cannot take others apart.
-- The events on them stay applied; their bytes are no longer kept.
INSERT INTO stripe.event_body (event_id, stored_at, body)
SELECT event_ids[1], stored_at, bytes FROM stripe.kept_page WHERE cardinality(event_ids) = 1
ON CONFLICT DO NOTHING;
DROP TABLE stripe.kept_page;
ALTER TABLE stripe.event DROP COLUMN kept_in;
