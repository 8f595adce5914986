DROP INDEX stripe.event_undecided_idx;
DROP INDEX stripe.event_object_idx;
CREATE INDEX event_waiting_idx ON stripe.event (object_id) WHERE outcome = 'waiting';
ALTER TABLE stripe.event DROP COLUMN claimed_booking_id;
COMMENT ON COLUMN stripe.event.outcome IS 'applied: it changed what is known. stale: all of it, or later, was known. waiting: its invoice has no booking to show it at yet. ignored: not for us. dead: it could not be applied. replayed: it was dead, was sent again, and is not judged yet.';
