//! Tables that the worker refuses.

/// What the app may have done to its tables that we cannot work with, and the
/// words of the refusal.
pub const MISFITS: &[(&str, &str, &str)] = &[
    (
        r#"ALTER TABLE "Invoice" DROP COLUMN "pdfUrl""#,
        "\"Invoice\"",
        "column \"pdfUrl\" (text) is missing",
    ),
    (
        r#"ALTER TABLE "Invoice" ALTER "createdAt" TYPE timestamptz(3)"#,
        "\"Invoice\"",
        "column \"createdAt\" is timestamp(3) with time zone, expected timestamp(3) without time zone",
    ),
    (
        r#"ALTER TABLE "Invoice" ALTER "createdAt" TYPE timestamp(0)"#,
        "\"Invoice\"",
        "column \"createdAt\" is timestamp(0) without time zone, expected timestamp(3) without time zone",
    ),
    (
        r#"ALTER TABLE "Invoice" ALTER "amount" TYPE numeric(10,2)"#,
        "\"Invoice\"",
        "column \"amount\" is numeric(10,2), expected numeric(65,30)",
    ),
    (
        r#"ALTER TABLE "Invoice" ALTER "bookingId" TYPE bigint"#,
        "\"Invoice\"",
        "column \"bookingId\" is bigint, expected integer",
    ),
    (
        r#"ALTER TABLE "Invoice" ALTER "status" TYPE text"#,
        "\"Invoice\"",
        "column \"status\" is text, expected \"InvoiceStatus\"",
    ),
    (
        r#"CREATE SCHEMA other; CREATE TYPE other."InvoiceStatus" AS ENUM ('DRAFT', 'SENT', 'PAID');
           ALTER TABLE "Invoice" ALTER "status" TYPE other."InvoiceStatus" USING 'PAID'"#,
        "\"Invoice\"",
        "column \"status\" is other.\"InvoiceStatus\", expected \"InvoiceStatus\"",
    ),
    (
        r#"ALTER TABLE "Invoice" ALTER "stripeInvoiceId" DROP NOT NULL"#,
        "\"Invoice\"",
        "column \"stripeInvoiceId\" is NULL, expected NOT NULL",
    ),
    (
        r#"DROP INDEX "Invoice_bookingId_key""#,
        "\"Invoice\"",
        "column \"bookingId\" has no unique index",
    ),
    (
        r#"DROP INDEX "Invoice_bookingId_key";
           CREATE UNIQUE INDEX ON "Invoice" ("bookingId") WHERE "status" = 'PAID'"#,
        "\"Invoice\"",
        "column \"bookingId\" has no unique index",
    ),
    (
        r#"DROP INDEX "Invoice_bookingId_key";
           CREATE UNIQUE INDEX ON "Invoice" ("bookingId", "currency");
           CREATE INDEX ON "Invoice" ("bookingId")"#,
        "\"Invoice\"",
        "column \"bookingId\" has no unique index",
    ),
    (
        r#"DROP INDEX "Invoice_bookingId_key";
           ALTER TABLE "Invoice" ADD UNIQUE ("bookingId") DEFERRABLE"#,
        "\"Invoice\"",
        "column \"bookingId\" has no unique index",
    ),
    (
        r#"ALTER TYPE "InvoiceStatus" RENAME VALUE 'PAID' TO 'SETTLED'"#,
        "\"Invoice\"",
        "enum \"InvoiceStatus\" lacks PAID",
    ),
    (
        r#"DROP TABLE "Invoice"; ALTER TYPE "InvoiceStatus" RENAME VALUE 'SENT' TO 'OPEN'"#,
        "\"Invoice\"",
        "enum \"InvoiceStatus\" lacks SENT",
    ),
    (
        r#"ALTER TABLE "Invoice" ADD "taxId" text NOT NULL"#,
        "\"Invoice\"",
        "column \"taxId\" is NOT NULL without a default",
    ),
    (
        r#"ALTER TABLE "Invoice" ALTER "id" DROP DEFAULT"#,
        "\"Invoice\"",
        "column \"id\" is NOT NULL without a default",
    ),
    (
        r#"DROP TABLE "Invoice"; CREATE VIEW "Invoice" AS SELECT 1 AS id"#,
        "\"Invoice\"",
        "something else than a table has that name",
    ),
    (
        r#"DROP TABLE "Invoice"; DROP TABLE "Booking"; CREATE TABLE "Booking" ("id" text PRIMARY KEY)"#,
        "\"Booking\"",
        "column \"id\" is text, expected integer",
    ),
    (
        r#"ALTER TABLE "HostOnboarding" DROP COLUMN "currentDeadline""#,
        "\"HostOnboarding\"",
        "column \"currentDeadline\" (timestamp(3) without time zone) is missing",
    ),
    (
        r#"ALTER TABLE "HostOnboarding" ALTER "currentlyDue" TYPE text"#,
        "\"HostOnboarding\"",
        "column \"currentlyDue\" is text, expected text[]",
    ),
    (
        r#"ALTER TABLE "HostOnboarding" ALTER "futureDue" TYPE text"#,
        "\"HostOnboarding\"",
        "column \"futureDue\" is text, expected text[]",
    ),
    (
        r#"ALTER TABLE "HostOnboarding" ALTER "hostId" SET NOT NULL"#,
        "\"HostOnboarding\"",
        "column \"hostId\" is NOT NULL, expected NULL",
    ),
    (
        r#"ALTER TABLE "HostOnboarding" DROP CONSTRAINT "HostOnboarding_pkey""#,
        "\"HostOnboarding\"",
        "column \"stripeAccountId\" has no unique index",
    ),
    (
        r#"ALTER TYPE "HostOnboardingStatus" RENAME VALUE 'PAUSED' TO 'HELD'"#,
        "\"HostOnboarding\"",
        "enum \"HostOnboardingStatus\" lacks PAUSED",
    ),
    (
        r#"ALTER TABLE "Invoice" DROP COLUMN "currency", ALTER "pdfUrl" DROP NOT NULL"#,
        "\"Invoice\"",
        "column \"pdfUrl\" is NULL, expected NOT NULL; column \"currency\" (text) is missing",
    ),
];
