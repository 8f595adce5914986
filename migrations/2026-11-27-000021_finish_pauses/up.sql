-- What Stripe does not finish is asked for less and less often: the job that goes on with what
-- interrupted commands began notes when it does so next, so that a restart does not begin anew.
ALTER TABLE stripe.command
    ADD COLUMN finish_tries integer NOT NULL DEFAULT 0,
    ADD COLUMN finish_at timestamptz;
COMMENT ON COLUMN stripe.command.finish_tries IS 'How often the job finish_commands went on with this attempt.';
COMMENT ON COLUMN stripe.command.finish_at IS 'When that job goes on with it next; null where it did not yet.';
