DROP INDEX stripe.booking_claim_first_idx;
DROP INDEX stripe.booking_claim_account_idx;
ALTER TABLE stripe.booking_claim DROP CONSTRAINT booking_claim_pkey;
ALTER TABLE stripe.booking_claim ADD PRIMARY KEY (booking_id, account, object_kind, object_id);
ALTER TABLE stripe.booking_claim DROP COLUMN is_active, DROP COLUMN is_undated;
COMMENT ON COLUMN stripe.invoice.waiting IS 'What it waits for before it can be its booking''s row, as a code.';
