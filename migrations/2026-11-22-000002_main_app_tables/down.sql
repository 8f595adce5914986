-- What the app's own migrations made stays.
DO $$
DECLARE
    app text := current_setting('stripe_sync.app_schema');
    made text;
BEGIN
    FOREACH made IN ARRAY ARRAY['HostOnboarding', 'Invoice'] LOOP
        IF EXISTS (SELECT FROM stripe.made_here WHERE name = made) THEN
            EXECUTE format('DROP TABLE IF EXISTS %I.%I', app, made);
        END IF;
    END LOOP;
    FOREACH made IN ARRAY ARRAY['HostOnboardingStatus', 'InvoiceStatus'] LOOP
        IF EXISTS (SELECT FROM stripe.made_here WHERE name = made) THEN
            EXECUTE format('DROP TYPE IF EXISTS %I.%I', app, made);
        END IF;
    END LOOP;
END
$$;
DROP TABLE stripe.made_here;
