DROP TABLE stripe.late_outcome;
DROP INDEX stripe.event_object_idx;
CREATE INDEX event_object_idx ON stripe.event (object_id, outcome);
