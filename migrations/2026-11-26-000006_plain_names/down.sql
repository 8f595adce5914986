ALTER TABLE stripe.replay_item DROP CONSTRAINT replay_item_outcome_check;
ALTER TABLE stripe.replay_item ADD CONSTRAINT replay_item_outcome_check
    CHECK (outcome IN ('applied', 'stale', 'waiting', 'ignored', 'duplicate', 'dead', 'unroutable', 'abandoned'));
ALTER TABLE stripe.event DROP CONSTRAINT event_outcome_check;
ALTER TABLE stripe.event ADD CONSTRAINT event_outcome_check
    CHECK (outcome IN ('applied', 'stale', 'waiting', 'ignored', 'dead', 'replayed'));
CREATE INDEX event_undecided_idx ON stripe.event (object_id)
    WHERE outcome = 'waiting' AND reason = 'owner_unknown' AND claimed_booking_id IS NOT NULL;
-- Their events wait again, so that the release before looks for their bookings.
UPDATE stripe.event e SET outcome = 'waiting', reason = i.waiting
    FROM stripe.invoice i WHERE i.waiting IS NOT NULL AND i.waiting <> 'booking_claimed_by_other_account'
        AND e.object_id = i.id AND e.type LIKE 'invoice.%' AND e.outcome IN ('applied', 'stale');
UPDATE stripe.event e SET outcome = 'waiting', reason = 'owner_unknown'
    FROM stripe.invoice i WHERE i.owner_unknown AND e.claimed_booking_id IS NOT NULL
        AND e.object_id = i.id AND e.type LIKE 'invoice.%' AND e.outcome IN ('applied', 'stale');
UPDATE stripe.event e SET outcome = 'waiting', reason = 'owner_unknown'
    FROM stripe.checkout_session s WHERE s.owner_unknown
        AND e.object_id = s.id AND e.type LIKE 'checkout.%' AND e.outcome IN ('applied', 'stale');
ALTER TABLE stripe.checkout_session DROP COLUMN owner_unknown;
ALTER TABLE stripe.invoice DROP COLUMN owner_unknown;

ALTER TABLE stripe.checkout_session RENAME COLUMN by_claim TO parts;
ALTER TABLE stripe.invoice RENAME COLUMN by_claim TO parts;

ALTER TABLE stripe.account_transition RENAME CONSTRAINT account_transition_change_check TO account_transition_sign_check;
ALTER TABLE stripe.account_transition RENAME COLUMN change TO sign;

UPDATE stripe.account
    SET latest_snapshots = (latest_snapshots - 'api_snapshot')
        || jsonb_build_object('settled', latest_snapshots -> 'api_snapshot')
    WHERE latest_snapshots ? 'api_snapshot';
ALTER INDEX stripe.account_tied_idx RENAME TO account_undecided_idx;
ALTER TABLE stripe.account RENAME COLUMN tied TO undecided;
ALTER TABLE stripe.account RENAME COLUMN latest_snapshots TO standing;

ALTER TABLE stripe.replay_item RENAME COLUMN decided_at TO judged_at;
ALTER TABLE stripe.dead_letter RENAME COLUMN death_key TO mark;
ALTER TABLE stripe.event RENAME COLUMN archive_page_id TO kept_in;
ALTER INDEX stripe.event_archive_stored_idx RENAME TO kept_page_stored_idx;
ALTER INDEX stripe.event_archive_pkey RENAME TO kept_page_pkey;
ALTER TABLE stripe.event_archive RENAME TO kept_page;

COMMENT ON TABLE stripe.kept_page IS 'The bytes of applied events, so that they can be judged again, many to a page. They hold personal data; KEEP_EVENTS_DAYS says for how long, 0 for never.';
COMMENT ON COLUMN stripe.kept_page.id IS 'Its number, made of the time. The ledger says on which page an event is.';
COMMENT ON COLUMN stripe.kept_page.event_ids IS 'The events on it, in order.';
COMMENT ON COLUMN stripe.event.kept_in IS 'The page of stripe.kept_page that holds its bytes, for as long as there is one.';
COMMENT ON COLUMN stripe.dead_letter.mark IS 'What tells its last death from the one before, so that one death is counted once.';
COMMENT ON COLUMN stripe.dead_letter.origin IS 'worker: its verdict. delivery_limit: its handler crashed each time. broker: the broker gave it up for another reason.';
COMMENT ON COLUMN stripe.dead_letter.state IS 'dead: it waits for an operator. replayed: sent again, not judged yet. resolved: applied after all. discarded: an operator gave it up.';
COMMENT ON COLUMN stripe.replay_item.judged_at IS 'When the outcome was known.';
COMMENT ON COLUMN stripe.replay_item.outcome IS 'As the ledger; duplicate: it had been applied already. unroutable: no queue takes its type. abandoned: the run was killed before the confirm. Null: not judged yet.';
COMMENT ON COLUMN stripe.replay.kind IS 'dead_letters: what could not be applied. events: what was applied, to be judged again.';
COMMENT ON COLUMN stripe.replay.selection IS 'What was asked for, as the command line said it.';
COMMENT ON COLUMN stripe.account.standing IS 'The snapshots of the newest second, by event.';
COMMENT ON COLUMN stripe.account.snapshot_event_id IS 'The event whose snapshot stands.';
COMMENT ON COLUMN stripe.account.undecided IS 'Several different snapshots could be the last of their second: the API has to be asked.';
COMMENT ON COLUMN stripe.account_transition.sign IS 'updated: a snapshot. authorized, deauthorized: the connection.';
COMMENT ON COLUMN stripe.invoice.parts IS 'All that is known, where several events gave it and a later one may still need to know which; null where the columns say it all.';
COMMENT ON COLUMN stripe.checkout_session.parts IS 'All that is known, where several events gave it; null where the columns say it all.';
COMMENT ON COLUMN stripe.invoice.waiting IS 'Why it is not shown to the main app although it could be, as a code.';
COMMENT ON COLUMN stripe.event.outcome IS 'applied: it changed what is known. stale: all of it, or later, was known. waiting: its invoice has no booking to show it at yet, or nobody knows whose booking it names. ignored: not for us. dead: it could not be applied. replayed: it was dead, was sent again, and is not judged yet.';
COMMENT ON COLUMN stripe.event.reason IS 'Why it waits, was ignored or is dead, as a code.';
COMMENT ON COLUMN stripe.event.attempts IS 'How often it was judged: 1, and one more for each time that a dead event was tried again.';
COMMENT ON COLUMN stripe.event.first_seen_at IS 'When the worker first judged it.';
COMMENT ON COLUMN stripe.event.claimed_booking_id IS 'The booking that the event names. Null for what names none, and for what was judged before this column came.';
