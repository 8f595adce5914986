-- The job end_paid_checkouts looks every few seconds for sessions of the last day that commands
-- made, among all that commands ever made.
CREATE INDEX command_checkout_idx ON stripe.command (finished_at, key)
    WHERE state = 'done' AND key LIKE 'booking.checkout:%';
-- Whose account an account is noted as is looked for with each checkout of a host that had another
-- one before.
CREATE INDEX command_host_account_idx ON stripe.command (object_id)
    WHERE state = 'done' AND key LIKE 'host.onboard:%';
