-- One name for each thing, and waiting as a state of the invoice instead of its events.
--
-- Renaming a column or a table changes the catalogue only, and the two new columns have a
-- constant default, which rewrites no row. What takes time is the ledger: the rows of
-- waiting events are updated, those of all invoices without a booking among them, and the
-- check of outcomes reads the whole table. The tables are locked until the end; ingest and
-- the broker keep what comes meanwhile.

ALTER TABLE stripe.kept_page RENAME TO event_archive;
ALTER INDEX stripe.kept_page_pkey RENAME TO event_archive_pkey;
ALTER INDEX stripe.kept_page_stored_idx RENAME TO event_archive_stored_idx;
COMMENT ON TABLE stripe.event_archive IS 'The bytes of applied events, so that they can be decided again, many to a page. They hold personal data; KEEP_EVENTS_DAYS says for how long, 0 for never.';
COMMENT ON COLUMN stripe.event_archive.id IS 'The page''s number, made of the time. The ledger says on which page an event is.';
COMMENT ON COLUMN stripe.event_archive.event_ids IS 'The events of the page, in order.';

ALTER TABLE stripe.event RENAME COLUMN kept_in TO archive_page_id;
COMMENT ON COLUMN stripe.event.archive_page_id IS 'The page of stripe.event_archive that holds its bytes, for as long as there is one.';

ALTER TABLE stripe.dead_letter RENAME COLUMN mark TO death_key;
COMMENT ON COLUMN stripe.dead_letter.death_key IS 'Tells its last death from the one before, so that one death is counted once.';
COMMENT ON COLUMN stripe.dead_letter.origin IS 'Who gave it up. worker: it cannot be applied. delivery_limit: its handler crashed each time. broker: the broker, for another reason.';
COMMENT ON COLUMN stripe.dead_letter.state IS 'dead: it waits for an operator. replayed: sent again, not decided yet. resolved: applied after all. discarded: an operator gave it up.';

ALTER TABLE stripe.replay_item RENAME COLUMN judged_at TO decided_at;
COMMENT ON COLUMN stripe.replay_item.decided_at IS 'When the outcome was known.';
COMMENT ON COLUMN stripe.replay_item.outcome IS 'As the ledger; duplicate: it had been applied already. unroutable: no queue takes its type. abandoned: the run was killed before the confirm. Null: not decided yet.';
COMMENT ON COLUMN stripe.replay.kind IS 'dead_letters: events that could not be applied. events: events that had their effect, to be decided again.';
COMMENT ON COLUMN stripe.replay.selection IS 'The selection, as the command line gave it.';

ALTER TABLE stripe.account RENAME COLUMN standing TO latest_snapshots;
ALTER TABLE stripe.account RENAME COLUMN undecided TO tied;
ALTER INDEX stripe.account_undecided_idx RENAME TO account_tied_idx;
UPDATE stripe.account
    SET latest_snapshots = (latest_snapshots - 'settled')
        || jsonb_build_object('api_snapshot', latest_snapshots -> 'settled')
    WHERE latest_snapshots ? 'settled';
COMMENT ON COLUMN stripe.account.latest_snapshots IS 'The snapshots of the latest second, by event.';
COMMENT ON COLUMN stripe.account.snapshot_event_id IS 'The event of the latest snapshot.';
COMMENT ON COLUMN stripe.account.tied IS 'Several different snapshots could be the last of their second: the API has to be asked.';

ALTER TABLE stripe.account_transition RENAME COLUMN sign TO change;
ALTER TABLE stripe.account_transition RENAME CONSTRAINT account_transition_sign_check TO account_transition_change_check;
COMMENT ON COLUMN stripe.account_transition.change IS 'updated: the snapshot. authorized, deauthorized: the connection.';

ALTER TABLE stripe.invoice RENAME COLUMN parts TO by_claim;
ALTER TABLE stripe.checkout_session RENAME COLUMN parts TO by_claim;
COMMENT ON COLUMN stripe.invoice.by_claim IS 'All that is known, apart by claim, where several events gave it; null where the columns hold it all.';
COMMENT ON COLUMN stripe.checkout_session.by_claim IS 'All that is known, apart by claim, where several events gave it; null where the columns hold it all.';
COMMENT ON COLUMN stripe.invoice.waiting IS 'What it waits for before it can be its booking''s row, as a code.';

-- Events no longer wait: their invoice does, or their session, whose claim is undecided.
ALTER TABLE stripe.invoice ADD COLUMN owner_unknown boolean NOT NULL DEFAULT false;
ALTER TABLE stripe.checkout_session ADD COLUMN owner_unknown boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN stripe.invoice.owner_unknown IS 'It names a booking whose owner BOOKING_OWNER_QUERY does not know yet.';
COMMENT ON COLUMN stripe.checkout_session.owner_unknown IS 'It names a booking whose owner BOOKING_OWNER_QUERY does not know yet.';
-- The ledger may have forgotten the events of an invoice, or have decided them before it
-- kept their claims: the invoice itself says that it waits for an owner. An invoice that
-- waits for its session's is rechecked once, which finds its session.
UPDATE stripe.invoice i SET owner_unknown = true WHERE i.waiting = 'owner_unknown' OR EXISTS (
    SELECT FROM stripe.event e WHERE e.object_id = i.id AND e.type LIKE 'invoice.%'
        AND e.outcome = 'waiting' AND e.reason = 'owner_unknown'
        AND e.claimed_booking_id IS NOT NULL);
UPDATE stripe.checkout_session s SET owner_unknown = true WHERE EXISTS (
    SELECT FROM stripe.event e WHERE e.object_id = s.id AND e.type LIKE 'checkout.%'
        AND e.outcome = 'waiting' AND e.reason = 'owner_unknown'
        AND e.claimed_booking_id IS NOT NULL);
CREATE INDEX invoice_owner_unknown_idx ON stripe.invoice (id) WHERE owner_unknown;
CREATE INDEX checkout_session_owner_unknown_idx ON stripe.checkout_session (id) WHERE owner_unknown;

DROP INDEX stripe.event_undecided_idx;
UPDATE stripe.event SET outcome = 'applied', reason = NULL WHERE outcome = 'waiting';
UPDATE stripe.replay_item SET outcome = 'applied', reason = NULL WHERE outcome = 'waiting';
ALTER TABLE stripe.event DROP CONSTRAINT event_outcome_check;
ALTER TABLE stripe.event ADD CONSTRAINT event_outcome_check
    CHECK (outcome IN ('applied', 'stale', 'ignored', 'dead', 'replayed'));
ALTER TABLE stripe.replay_item DROP CONSTRAINT replay_item_outcome_check;
ALTER TABLE stripe.replay_item ADD CONSTRAINT replay_item_outcome_check
    CHECK (outcome IN ('applied', 'stale', 'ignored', 'duplicate', 'dead', 'unroutable', 'abandoned'));
COMMENT ON COLUMN stripe.event.outcome IS 'applied: it changed what is known. stale: all of it, or later, was known. ignored: not for us. dead: it could not be applied. replayed: it was dead, was sent again, and is not decided yet.';
COMMENT ON COLUMN stripe.event.reason IS 'Why it was ignored or is dead, as a code.';
COMMENT ON COLUMN stripe.event.attempts IS 'How often it was decided: 1, and one more for each time that it was decided again.';
COMMENT ON COLUMN stripe.event.first_seen_at IS 'When the worker first decided it.';
COMMENT ON COLUMN stripe.event.claimed_booking_id IS 'The booking that the event names. Null for an event that names none, and for one that was decided before this column came.';
