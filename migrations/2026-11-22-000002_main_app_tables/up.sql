-- The tables that the main app reads, exactly as Prisma makes them from the
-- models in the README, unless the app's own migrations made them already.
-- `stripe_sync.app_schema` names the database's default schema; the worker sets
-- it. Whether a table that is there fits is checked by the worker at each start.

CREATE TABLE stripe.made_here (
    name text PRIMARY KEY,
    object oid NOT NULL
);
COMMENT ON TABLE stripe.made_here IS 'Which of the main app''s tables and types these migrations made. Only those are dropped on the way back.';
COMMENT ON COLUMN stripe.made_here.name IS 'The name of the table or type.';
COMMENT ON COLUMN stripe.made_here.object IS 'Its oid: a table of that name that the app made since is not ours.';

DO $$
DECLARE
    app text := current_setting('stripe_sync.app_schema');
BEGIN
    IF to_regtype(format('%I."InvoiceStatus"', app)) IS NULL THEN
        EXECUTE format('CREATE TYPE %I."InvoiceStatus" AS ENUM (''DRAFT'', ''SENT'', ''PAID'')', app);
        INSERT INTO stripe.made_here VALUES ('InvoiceStatus', to_regtype(format('%I."InvoiceStatus"', app)));
    END IF;

    IF to_regclass(format('%I."Invoice"', app)) IS NULL THEN
        EXECUTE format(
            'CREATE TABLE %1$I."Invoice" (
                "id" SERIAL NOT NULL,
                "bookingId" INTEGER NOT NULL,
                "stripeInvoiceId" TEXT NOT NULL,
                "pdfUrl" TEXT NOT NULL,
                "amount" DECIMAL(65,30) NOT NULL,
                "currency" TEXT NOT NULL,
                "status" %1$I."InvoiceStatus" NOT NULL,
                "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
                CONSTRAINT "Invoice_pkey" PRIMARY KEY ("id")
            )', app);
        EXECUTE format('CREATE UNIQUE INDEX "Invoice_bookingId_key" ON %I."Invoice"("bookingId")', app);
        -- A view cannot be pointed at.
        IF EXISTS (SELECT FROM pg_class WHERE relkind IN ('r', 'p')
                AND oid = to_regclass(format('%I."Booking"', app))) THEN
            EXECUTE format(
                'ALTER TABLE %1$I."Invoice" ADD CONSTRAINT "Invoice_bookingId_fkey"
                    FOREIGN KEY ("bookingId") REFERENCES %1$I."Booking"("id")
                    ON DELETE RESTRICT ON UPDATE CASCADE', app);
        END IF;
        INSERT INTO stripe.made_here VALUES ('Invoice', to_regclass(format('%I."Invoice"', app)));
    END IF;

    IF to_regtype(format('%I."HostOnboardingStatus"', app)) IS NULL THEN
        EXECUTE format(
            'CREATE TYPE %I."HostOnboardingStatus" AS ENUM (''INCOMPLETE'', ''IN_REVIEW'', ''ENABLED'',
                ''RESTRICTED_SOON'', ''RESTRICTED'', ''PAUSED'', ''REJECTED'', ''DISCONNECTED'')', app);
        INSERT INTO stripe.made_here VALUES ('HostOnboardingStatus', to_regtype(format('%I."HostOnboardingStatus"', app)));
    END IF;

    IF to_regclass(format('%I."HostOnboarding"', app)) IS NULL THEN
        EXECUTE format(
            'CREATE TABLE %1$I."HostOnboarding" (
                "stripeAccountId" TEXT NOT NULL,
                "hostId" TEXT,
                "status" %1$I."HostOnboardingStatus" NOT NULL,
                "canSell" BOOLEAN NOT NULL,
                "chargesEnabled" BOOLEAN NOT NULL,
                "payoutsEnabled" BOOLEAN NOT NULL,
                "detailsSubmitted" BOOLEAN NOT NULL,
                "currentlyDue" TEXT[],
                "pastDue" TEXT[],
                "eventuallyDue" TEXT[],
                "pendingVerification" TEXT[],
                "disabledReason" TEXT,
                "currentDeadline" TIMESTAMP(3),
                "type" TEXT,
                "country" TEXT,
                "defaultCurrency" TEXT,
                "lastEventAt" TIMESTAMP(3) NOT NULL,
                "updatedAt" TIMESTAMP(3) NOT NULL,
                "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
                CONSTRAINT "HostOnboarding_pkey" PRIMARY KEY ("stripeAccountId")
            )', app);
        INSERT INTO stripe.made_here VALUES ('HostOnboarding', to_regclass(format('%I."HostOnboarding"', app)));
    END IF;
END
$$;
