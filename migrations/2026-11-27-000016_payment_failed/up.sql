-- What commands told had the time 1 in every attempt. Of two attempts on two accounts the later
-- one has the booking now, by an earlier time: those from before are to be later than all.
UPDATE stripe.booking_claim SET event_created = to_timestamp(1000000)
WHERE event_created = to_timestamp(1) AND event_id LIKE 'told\_cs\_%';

-- What these hold since the worker keeps that a payment failed, and since what may have killed
-- a worker is tried together before it is tried alone.
COMMENT ON COLUMN stripe.checkout_session.status IS 'open, complete, expired, or payment_failed: complete, and the money of a method that takes days did not come. Never back to open.';
COMMENT ON TABLE stripe.crash_note IS 'Deliveries that may be what their workers die of, while they are tried, and whose worker died meanwhile. A try that ends in any other way takes its row away.';
COMMENT ON COLUMN stripe.crash_note.tries IS 'How many tries of it alone have begun in succession; 0 where it was tried together with others. The event is given up after five.';
