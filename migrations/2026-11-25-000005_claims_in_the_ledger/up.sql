-- An event that names a booking is a claim. Whose the booking is can turn out
-- after the event was judged; then the ledger has to say so.
ALTER TABLE stripe.event ADD COLUMN claimed_booking_id integer;
COMMENT ON COLUMN stripe.event.claimed_booking_id IS 'The booking that the event names. Null for what names none, and for what was judged before this column came.';

-- What became of the events of an object: its invoice no longer waits, or its
-- booking turned out to be another account's. And "what happened to this invoice?".
DROP INDEX stripe.event_waiting_idx;
CREATE INDEX event_object_idx ON stripe.event (object_id, outcome);
-- What is looked at again until the deployment's query knows the booking.
CREATE INDEX event_undecided_idx ON stripe.event (object_id)
    WHERE outcome = 'waiting' AND reason = 'owner_unknown' AND claimed_booking_id IS NOT NULL;

COMMENT ON COLUMN stripe.event.outcome IS 'applied: it changed what is known. stale: all of it, or later, was known. waiting: its invoice has no booking to show it at yet, or nobody knows whose booking it names. ignored: not for us. dead: it could not be applied. replayed: it was dead, was sent again, and is not judged yet.';
