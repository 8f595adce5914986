DROP INDEX stripe.account_api_needed_idx;
CREATE INDEX account_tied_idx ON stripe.account (id) WHERE tied;
ALTER TABLE stripe.account DROP COLUMN api_needed, DROP COLUMN connections;

-- Postgres cannot drop a value of an enum: the type is made anew without it. A type that
-- something else depends on keeps the value, which no row has any more.
DO $$
DECLARE
    made record;
    place record;
    labels text;
BEGIN
    FOR made IN
        SELECT t.oid, t.oid::regtype::text AS name, n.nspname AS schema FROM stripe.made_here m
        JOIN pg_type t ON t.oid = m.object AND t.typname = 'HostOnboardingStatus'
        JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE m.name = 'HostOnboardingStatus.UNKNOWN'
    LOOP
        SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) INTO labels
            FROM pg_enum WHERE enumtypid = made.oid AND enumlabel <> 'UNKNOWN';
        BEGIN
            EXECUTE format('ALTER TYPE %s RENAME TO "HostOnboardingStatus_before"', made.name);
            EXECUTE format('CREATE TYPE %I."HostOnboardingStatus" AS ENUM (%s)', made.schema, labels);
            FOR place IN
                SELECT c.oid::regclass AS name, a.attname AS attribute FROM pg_attribute a
                JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
                WHERE a.atttypid = made.oid AND NOT a.attisdropped
            LOOP
                EXECUTE format(
                    'ALTER TABLE %1$s ALTER %2$I TYPE %3$I."HostOnboardingStatus" USING
                        replace(%2$I::text, ''UNKNOWN'', ''INCOMPLETE'')::%3$I."HostOnboardingStatus"',
                    place.name, place.attribute, made.schema);
            END LOOP;
            EXECUTE format('DROP TYPE %I."HostOnboardingStatus_before"', made.schema);
            UPDATE stripe.made_here
                SET object = to_regtype(format('%I."HostOnboardingStatus"', made.schema))
                WHERE name = 'HostOnboardingStatus' AND object = made.oid;
        EXCEPTION WHEN dependent_objects_still_exist OR feature_not_supported
                OR datatype_mismatch OR undefined_function THEN
            EXECUTE format(
                'UPDATE %1$I."HostOnboarding" SET "status" = ''INCOMPLETE'' WHERE "status" = ''UNKNOWN''',
                made.schema);
        END;
    END LOOP;
    FOR made IN
        SELECT c.oid::regclass AS name FROM stripe.made_here m
        JOIN pg_class c ON c.oid = m.object AND c.relname = 'HostOnboarding'
        WHERE m.name = 'HostOnboarding.futureDue'
    LOOP
        EXECUTE format('ALTER TABLE %s DROP COLUMN IF EXISTS "futureDue"', made.name);
    END LOOP;
END
$$;
DELETE FROM stripe.made_here WHERE name IN ('HostOnboardingStatus.UNKNOWN', 'HostOnboarding.futureDue');

COMMENT ON TABLE stripe.made_here IS 'Which of the main app''s tables and types these migrations made. Only those are dropped on the way back.';
COMMENT ON COLUMN stripe.made_here.name IS 'The name of the table or type.';
COMMENT ON COLUMN stripe.made_here.object IS 'Its oid: a table of that name that the app made since is not ours.';
COMMENT ON COLUMN stripe.account.latest_snapshots IS 'The snapshots of the latest second, by event.';
COMMENT ON COLUMN stripe.account.snapshot_event_id IS 'The event of the latest snapshot.';
COMMENT ON COLUMN stripe.account.tied IS 'Several different snapshots could be the last of their second: the API has to be asked.';
COMMENT ON COLUMN stripe.account.connected_at IS 'The newest other sign of connection.';
