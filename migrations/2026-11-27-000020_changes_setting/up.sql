-- Whether the worker tells the main app news, for commands that write the main app's rows beside
-- it: what they write without news is never told.
--
-- It is no column of stripe.deployment, whose row the worker's role may not change.
CREATE TABLE stripe.changes_setting (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    is_on boolean NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE stripe.changes_setting IS 'Whether changes of the main app''s rows are noted in stripe.outbox: CHANGES, as the worker that started last has it.';
COMMENT ON COLUMN stripe.changes_setting.is_only IS 'Always true: there is one row at most.';
COMMENT ON COLUMN stripe.changes_setting.is_on IS 'Whether they are.';
COMMENT ON COLUMN stripe.changes_setting.set_at IS 'When a worker started that has it so, and the one before had not.';
