DROP TABLE stripe.command;
DROP TABLE stripe.api_read;
ALTER TABLE stripe.account
    DROP COLUMN host_id,
    DROP COLUMN changed_at,
    DROP COLUMN changed_read;
DROP INDEX stripe.invoice_account_idx;
