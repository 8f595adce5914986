-- An attempt at a booking's session says how often the booking had been canceled when its command
-- came: a session of before a cancel is not to be paid, whoever finds it.
ALTER TABLE stripe.command ADD COLUMN cancels integer;
COMMENT ON COLUMN stripe.command.cancels IS 'How often the booking had been canceled when the command came that began this attempt; null of what is no session, and of attempts that an earlier release began.';
