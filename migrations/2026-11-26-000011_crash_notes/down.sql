COMMENT ON COLUMN stripe.dead_letter.origin IS 'Who gave it up. worker: it cannot be applied. delivery_limit: its handler crashed each time. broker: the broker, for another reason.';
DROP TABLE stripe.crash_note;
