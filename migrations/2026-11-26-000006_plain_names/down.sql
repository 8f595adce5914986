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
