DROP INDEX stripe.event_undecided_idx;
DROP INDEX stripe.event_object_idx;
CREATE INDEX event_waiting_idx ON stripe.event (object_id) WHERE outcome = 'waiting';
ALTER TABLE stripe.event DROP COLUMN claimed_booking_id;
