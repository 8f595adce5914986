-- What the app's own migrations made stays, also where it has taken the place of
-- what these made.
DO $$
DECLARE
    made record;
BEGIN
    FOR made IN
        SELECT c.oid::regclass AS name FROM stripe.made_here m
        JOIN pg_class c ON c.oid = m.object AND c.relname = m.name
    LOOP
        EXECUTE format('DROP TABLE %s', made.name);
    END LOOP;
    FOR made IN
        SELECT t.oid::regtype AS name FROM stripe.made_here m
        JOIN pg_type t ON t.oid = m.object AND t.typname = m.name
    LOOP
        EXECUTE format('DROP TYPE %s', made.name);
    END LOOP;
END
$$;
DROP TABLE stripe.made_here;
