-- A claim counts as long as the newest event of its object makes it, and a session that
-- expired unpaid claims nothing. The first claim on a booking, and the first ones of an
-- account, are found by an index, however many there are.
--
-- The table of claims is locked while three indexes are built and its rows are read once
-- with those of invoices and sessions: some seconds for a million claims. Nothing of the
-- main app's is touched.

ALTER TABLE stripe.booking_claim
    ADD COLUMN is_active boolean NOT NULL DEFAULT true,
    ADD COLUMN is_undated boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN stripe.booking_claim.is_active IS 'Whether the newest event of the object and account names the booking. One that is not was taken back, or its session expired unpaid.';
COMMENT ON COLUMN stripe.booking_claim.is_undated IS 'The first event did not say when it happened: it comes after all that did.';

UPDATE stripe.booking_claim SET is_undated = true WHERE event_created = to_timestamp(0);
WITH inactive AS (
    UPDATE stripe.booking_claim c SET is_active = false WHERE
        (c.object_kind = 'invoice' AND EXISTS (SELECT FROM stripe.invoice i
            WHERE i.id = c.object_id AND i.account = c.account
                AND i.claimed_booking_id IS DISTINCT FROM c.booking_id))
        OR (c.object_kind = 'session' AND EXISTS (SELECT FROM stripe.checkout_session s
            WHERE s.id = c.object_id AND (
                (s.account = c.account AND s.claimed_booking_id IS DISTINCT FROM c.booking_id)
                OR (s.status = 'expired' AND coalesce(s.payment_status, 'unpaid') = 'unpaid'))))
    RETURNING c.booking_id
)
-- Their rows are computed anew by the worker.
INSERT INTO stripe.pending_projection (kind, id, reason, detail)
    SELECT DISTINCT 'booking', booking_id::text, 'not_tried', 'a claim on it was taken back'
    FROM inactive
    ON CONFLICT DO NOTHING;

ALTER TABLE stripe.booking_claim DROP CONSTRAINT booking_claim_pkey;
ALTER TABLE stripe.booking_claim ADD PRIMARY KEY (object_id, object_kind, booking_id, account);
CREATE INDEX booking_claim_first_idx ON stripe.booking_claim
    (booking_id, is_undated, event_created, event_id) WHERE is_active;
CREATE INDEX booking_claim_account_idx ON stripe.booking_claim
    (booking_id, account, is_undated, event_created, event_id) WHERE is_active;

COMMENT ON COLUMN stripe.invoice.waiting IS 'What it waits for before it can be its booking''s row, as a code; too_many_bookings and too_many_objects: it names more bookings, or its booking is named by more objects, than is allowed.';
