COMMENT ON COLUMN stripe.replay.kind IS 'dead_letters: events that could not be applied. events: events that had their effect, to be decided again.';
COMMENT ON TABLE stripe.event_archive IS 'The bytes of applied events, so that they can be decided again, many to a page. They hold personal data; KEEP_EVENTS_DAYS says for how long, 0 for never.';
DROP INDEX stripe.event_unhandled_idx;
DROP TABLE stripe.deployment;
