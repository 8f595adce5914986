-- What the main app was last told of refunds and credit notes. What was told before cannot be
-- read off its rows, which do not show it, nor off stripe.invoice, which is ahead of the main app
-- while a row waits and which a rebuild computes anew.
--
-- A new table: nothing is locked and nothing is rewritten. What was given back before is told
-- with the next event of its booking.

CREATE TABLE stripe.outbox_refund (
    invoice_id text NOT NULL,
    booking_id integer NOT NULL,
    amount_refunded bigint NOT NULL,
    amount_credited bigint NOT NULL,
    PRIMARY KEY (invoice_id, booking_id)
);

COMMENT ON TABLE stripe.outbox_refund IS 'What the latest booking.invoice.refunded of an invoice and a booking said, written in the transaction of the change. The next one is told when something else is to be said.';
COMMENT ON COLUMN stripe.outbox_refund.invoice_id IS 'The invoice that the booking showed.';
COMMENT ON COLUMN stripe.outbox_refund.booking_id IS 'The booking.';
COMMENT ON COLUMN stripe.outbox_refund.amount_refunded IS 'What was refunded of it, in the currency''s minor units.';
COMMENT ON COLUMN stripe.outbox_refund.amount_credited IS 'What it was credited with, in the currency''s minor units.';
