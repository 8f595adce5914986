DROP TABLE stripe.event_body;
DROP TABLE stripe.dead_letter;
DROP TABLE stripe.replay_item;
DROP TABLE stripe.replay;
-- The older ledger does not know an event that is on its way again.
UPDATE stripe.event SET outcome = 'dead' WHERE outcome = 'replayed';
DROP INDEX stripe.event_dead_idx;
DROP INDEX stripe.event_first_seen_idx;
ALTER TABLE stripe.event DROP CONSTRAINT event_outcome_check;
ALTER TABLE stripe.event ADD CONSTRAINT event_outcome_check
    CHECK (outcome IN ('applied', 'stale', 'waiting', 'ignored', 'dead'));
ALTER TABLE stripe.event DROP COLUMN first_seen_at, DROP COLUMN source;
COMMENT ON COLUMN stripe.event.outcome IS 'applied: it changed what is known. stale: all of it, or later, was known. waiting: its invoice has no booking to show it at yet. ignored: not for us. dead: it could not be applied.';
