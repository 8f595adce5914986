-- Hosts of whom nothing is known since they connected, and what will be due of a host.
--
-- The main app's table and its enum are changed here, whoever made them, unless the app's
-- own migration came first. stripe.made_here says what was added, for the way back.

DO $$
DECLARE
    app text := current_setting('stripe_sync.app_schema');
    status regtype := to_regtype(format('%I."HostOnboardingStatus"', app));
BEGIN
    IF NOT EXISTS (SELECT FROM pg_enum WHERE enumtypid = status AND enumlabel = 'UNKNOWN') THEN
        EXECUTE format('ALTER TYPE %I."HostOnboardingStatus" ADD VALUE ''UNKNOWN'' BEFORE ''INCOMPLETE''', app);
        INSERT INTO stripe.made_here VALUES ('HostOnboardingStatus.UNKNOWN', status);
    END IF;
END
$$;

-- A new value of an enum can be used once it is committed. Should the rest fail, the value
-- is there at the next try.
COMMIT;
BEGIN;

DO $$
DECLARE
    app text := current_setting('stripe_sync.app_schema');
    hosts regclass := to_regclass(format('%I."HostOnboarding"', app));
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute
            WHERE attrelid = hosts AND attname = 'futureDue' AND NOT attisdropped) THEN
        EXECUTE format('ALTER TABLE %s ADD COLUMN "futureDue" TEXT[]', hosts);
        INSERT INTO stripe.made_here VALUES ('HostOnboarding.futureDue', hosts);
    END IF;
END
$$;
COMMENT ON TABLE stripe.made_here IS 'Which of the main app''s tables, types, columns and values of enums these migrations made. Only those are dropped on the way back.';
COMMENT ON COLUMN stripe.made_here.name IS 'The name of the table or type; behind a dot, that of its column or value.';
COMMENT ON COLUMN stripe.made_here.object IS 'The oid of the table or type: one of that name that the app made since is not ours.';

ALTER TABLE stripe.account
    ADD COLUMN connections jsonb,
    ADD COLUMN api_needed boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN stripe.account.latest_snapshots IS 'The snapshots of the latest second, by event, and what Stripe''s API said when it was asked after them.';
COMMENT ON COLUMN stripe.account.snapshot_event_id IS 'The event of the latest snapshot; null where only the API gave one.';
COMMENT ON COLUMN stripe.account.tied IS 'Several different snapshots could be the last of their second.';
COMMENT ON COLUMN stripe.account.connections IS 'The newest authorisation and deauthorisation by application, in Unix seconds. Under the empty name are those of events that name none, and those of all but 16 applications.';
COMMENT ON COLUMN stripe.account.api_needed IS 'Only Stripe''s API can tell how the account is: its latest snapshots are tied, or none came since it was connected.';
COMMENT ON COLUMN stripe.account.connected_at IS 'The newest authorisation or snapshot.';

-- The application of an earlier event is not known any more. A connection that is no newer
-- than the latest snapshot is that snapshot.
WITH known AS (
    SELECT id, deauthorized_at AS cut, to_timestamp((latest_snapshots ->> 'created')::bigint) AS snapshot,
        CASE WHEN latest_snapshots IS NULL
                OR connected_at > to_timestamp((latest_snapshots ->> 'created')::bigint)
            THEN connected_at END AS authorized
    FROM stripe.account
)
UPDATE stripe.account a SET
    connections = jsonb_build_object('', jsonb_build_object(
        'authorized', extract(epoch FROM known.authorized)::bigint,
        'deauthorized', extract(epoch FROM known.cut)::bigint)),
    api_needed = coalesce(known.cut IS NULL OR a.connected_at > known.cut, false)
        AND (a.tied OR known.authorized IS NOT NULL OR coalesce(known.cut >= known.snapshot, false))
FROM known
WHERE known.id = a.id AND (known.authorized IS NOT NULL OR known.cut IS NOT NULL);
UPDATE stripe.account SET api_needed = true WHERE tied AND connections IS NULL;

DROP INDEX stripe.account_tied_idx;
CREATE INDEX account_api_needed_idx ON stripe.account (id) WHERE api_needed;

-- The rows of the main app are as this release would write them.
DO $$
DECLARE
    app text := current_setting('stripe_sync.app_schema');
BEGIN
    EXECUTE format($sql$
        UPDATE %1$I."HostOnboarding" h SET
            "futureDue" = ARRAY(SELECT jsonb_array_elements_text(
                coalesce(latest.snapshot -> 'future_currently_due', '[]')))
        FROM (
            SELECT id, coalesce(nullif(latest_snapshots -> 'api_snapshot', 'null'),
                latest_snapshots -> 'candidates' -> snapshot_event_id -> 'after') AS snapshot
            FROM stripe.account
        ) latest
        WHERE latest.id = h."stripeAccountId"
        $sql$, app);
    EXECUTE format($sql$
        UPDATE %1$I."HostOnboarding" h SET
            "status" = 'UNKNOWN', "canSell" = false, "updatedAt" = now() AT TIME ZONE 'UTC'
        FROM stripe.account a
        WHERE a.id = h."stripeAccountId" AND a.api_needed AND a.connections IS NOT NULL
            AND (a.latest_snapshots IS NULL
                OR a.connections #> '{"",authorized}' <> 'null'
                OR a.deauthorized_at >= to_timestamp((a.latest_snapshots ->> 'created')::bigint))
        $sql$, app);
END
$$;
