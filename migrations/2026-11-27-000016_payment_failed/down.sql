-- An earlier release knows no payment that failed: to it the session is complete.
UPDATE stripe.checkout_session
SET status = CASE status WHEN 'payment_failed' THEN 'complete' ELSE status END,
    by_claim = replace(by_claim::text, '"payment_failed"', '"complete"')::jsonb
WHERE status = 'payment_failed' OR by_claim::text LIKE '%"payment_failed"%';
COMMENT ON COLUMN stripe.checkout_session.status IS 'open, complete or expired; never back to open.';
COMMENT ON TABLE stripe.crash_note IS 'Deliveries that are handled alone now, or whose worker died meanwhile. A try that ends in any other way takes its row away.';
COMMENT ON COLUMN stripe.crash_note.tries IS 'How many tries in succession have begun. The event is given up after five.';
