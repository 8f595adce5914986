ALTER TABLE stripe.command
    DROP COLUMN finish_at,
    DROP COLUMN finish_tries;
