-- The events of an object are looked for by the booking that they name and by whether they were
-- refused: an object can have many thousands of the others.
DROP INDEX stripe.event_object_idx;
CREATE INDEX event_object_idx ON stripe.event (object_id, claimed_booking_id, reason);

-- A claim that is decided late changes the outcomes of the events before. A transaction changes
-- some of them; here is what has more.
CREATE TABLE stripe.late_outcome (
    kind text NOT NULL CHECK (kind IN ('invoice', 'session', 'booking')),
    id text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (kind, id)
);
CREATE INDEX late_outcome_noted_idx ON stripe.late_outcome (noted_at);
COMMENT ON TABLE stripe.late_outcome IS 'Invoices, sessions and bookings of which more events have another outcome now than one transaction writes. The job write_late_outcomes writes the rest.';
COMMENT ON COLUMN stripe.late_outcome.kind IS 'invoice or session: the events of this object; booking: the events that name it.';
COMMENT ON COLUMN stripe.late_outcome.id IS 'The id of the object, or the number of the booking.';
COMMENT ON COLUMN stripe.late_outcome.noted_at IS 'When it was last looked at; the one that was not for longest comes first.';
