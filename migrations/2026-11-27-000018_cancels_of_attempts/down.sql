ALTER TABLE stripe.command DROP COLUMN cancels;
