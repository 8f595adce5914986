-- The bytes of applied events, many to a row. Events resemble each other: a page
-- takes a third of the space of its events one by one, and one row instead of
-- hundreds.
CREATE TABLE stripe.kept_page (
    id bigint PRIMARY KEY,
    stored_at timestamptz NOT NULL DEFAULT now(),
    event_ids text[] NOT NULL,
    ends integer[] NOT NULL,
    bytes bytea NOT NULL
);
-- The bytes are compressed already; Postgres should not try again.
ALTER TABLE stripe.kept_page ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE INDEX kept_page_stored_idx ON stripe.kept_page (stored_at);
COMMENT ON TABLE stripe.kept_page IS 'The bytes of applied events, so that they can be judged again, many to a page. They hold personal data; KEEP_EVENTS_DAYS says for how long, 0 for never.';
COMMENT ON COLUMN stripe.kept_page.id IS 'Its number, made of the time. The ledger says on which page an event is.';
COMMENT ON COLUMN stripe.kept_page.stored_at IS 'When it was stored.';
COMMENT ON COLUMN stripe.kept_page.event_ids IS 'The events on it, in order.';
COMMENT ON COLUMN stripe.kept_page.ends IS 'Where each event but the last ends, in the bytes before compression.';
COMMENT ON COLUMN stripe.kept_page.bytes IS 'The exact bytes that Stripe signed, of one event behind the other, compressed with zstd.';

ALTER TABLE stripe.event ADD COLUMN kept_in bigint;
COMMENT ON COLUMN stripe.event.kept_in IS 'The page of stripe.kept_page that holds its bytes, for as long as there is one.';

-- What is kept already stays kept, a page for each.
WITH numbered AS (
    SELECT row_number() OVER (ORDER BY stored_at, event_id) AS id, * FROM stripe.event_body
), moved AS (
    INSERT INTO stripe.kept_page (id, stored_at, event_ids, ends, bytes)
    SELECT id, stored_at, ARRAY[event_id], '{}', body FROM numbered
)
UPDATE stripe.event e SET kept_in = numbered.id FROM numbered WHERE e.id = numbered.event_id;
DROP TABLE stripe.event_body;
