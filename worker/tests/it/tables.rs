//! The tables: made as Prisma makes them, or adopted as the app made them, or [`refused`].

mod refused;

use std::collections::BTreeSet;

use crate::prisma::{self, Place};
use crate::support::{
    APPLIED, Lab,
    migrating::{BOOKING, ROWS, count, database, down, up},
};
use harness::stripe::{Account, Event, Invoice};
use store::migrations;

async fn check(url: &str) -> Result<(), String> {
    let connection = database(url).connect().await.unwrap();
    let done = migrations::check(connection).await;
    done.map_err(|error| shared::telemetry::report(&error))
}

/// What Prisma alone leaves in the main app's schema.
async fn prismas(models: &[&str]) -> BTreeSet<String> {
    let place = Place::after(&prisma::statements(models)).await;
    place.listing_of("public").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_gets_what_prisma_makes_and_nothing_else() {
    let place = Place::new().await;
    assert_eq!(up(place.database.url()).await.unwrap().len(), count());

    let public = place.listing_of("public").await;
    assert_eq!(public, prismas(&["Invoice", "HostOnboarding"]).await);
    // The facts in words, should the file of Prisma's statements ever be wrong.
    for fact in [
        "public.Invoice: column 1 id integer not null default nextval('\"Invoice_id_seq\"'::regclass)",
        "public.Invoice: column 5 amount numeric(65,30) not null default ",
        "public.Invoice: column 8 createdAt timestamp(3) without time zone not null default CURRENT_TIMESTAMP",
        "public.Invoice: constraint Invoice_pkey PRIMARY KEY (id)",
        "public.Invoice_bookingId_key: index CREATE UNIQUE INDEX \"Invoice_bookingId_key\" ON public.\"Invoice\" USING btree (\"bookingId\")",
        "public.InvoiceStatus: enum DRAFT SENT PAID",
        "public.HostOnboarding: column 8 currentlyDue text[] null default ",
        "public.HostOnboardingStatus: enum UNKNOWN INCOMPLETE IN_REVIEW ENABLED RESTRICTED_SOON RESTRICTED PAUSED REJECTED DISCONNECTED",
    ] {
        assert!(public.contains(fact), "{fact}\n{public:#?}");
    }
    assert!(!public.iter().any(|line| line.contains("FOREIGN KEY")));

    let mut elsewhere = place.listing().await;
    elsewhere.retain(|line| !line.starts_with("public.") && !line.starts_with("stripe."));
    assert_eq!(elsewhere, BTreeSet::new());
    let migrations = "stripe.__diesel_schema_migrations: relation r";
    assert!(place.listing().await.contains(migrations));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_bookings_came_first_invoices_point_at_them_as_prismas_do() {
    let place = Place::after(&prisma::statements(BOOKING)).await;
    up(place.database.url()).await.unwrap();
    let public = place.listing_of("public").await;
    assert_eq!(
        public,
        prismas(&["Booking", "Invoice", "HostOnboarding"]).await
    );
    let key = "public.Invoice: constraint Invoice_bookingId_fkey FOREIGN KEY (\"bookingId\") \
               REFERENCES \"Booking\"(id) ON UPDATE CASCADE ON DELETE RESTRICT";
    assert!(public.contains(key), "{public:#?}");

    // A view of bookings cannot be pointed at, and is no obstacle.
    let view =
        r#"CREATE TABLE reservation (id integer); CREATE VIEW "Booking" AS TABLE reservation"#;
    let place = Place::after(view).await;
    up(place.database.url()).await.unwrap();
    let public = place.listing_of("public").await;
    assert!(public.contains("public.Invoice: relation r"), "{public:#?}");
    assert!(!public.iter().any(|line| line.contains("FOREIGN KEY")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_app_made_is_adopted_untouched_and_stays_on_the_way_back() {
    let place = Place::after(prisma::all()).await;
    place.run(ROWS).await;
    let (before, rows) = (place.listing().await, place.rows().await);
    assert_eq!(rows.len(), 4);

    up(place.database.url()).await.unwrap();
    let mut after = place.listing().await;
    after.retain(|line| !line.starts_with("stripe."));
    assert_eq!(after, before);
    assert_eq!(place.rows().await, rows);

    // The next start finds nothing to do, and nothing to refuse.
    assert_eq!(up(place.database.url()).await, Ok(Vec::new()));
    assert_eq!(check(place.database.url()).await, Ok(()));

    down(place.database.url()).await.unwrap();
    place.holds(&before).await;
    assert_eq!(place.rows().await, rows);
}

/// What Prisma made of the model of an earlier release.
const EARLIER_MODEL: &str = r#"
    ALTER TABLE "HostOnboarding" DROP COLUMN "futureDue";
    ALTER TYPE "HostOnboardingStatus" RENAME TO "Before";
    CREATE TYPE "HostOnboardingStatus" AS ENUM ('INCOMPLETE', 'IN_REVIEW', 'ENABLED',
        'RESTRICTED_SOON', 'RESTRICTED', 'PAUSED', 'REJECTED', 'DISCONNECTED');
    ALTER TABLE "HostOnboarding" ALTER "status" TYPE "HostOnboardingStatus"
        USING "status"::text::"HostOnboardingStatus";
    DROP TYPE "Before";
"#;

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_the_app_made_by_an_earlier_model_get_what_is_new_until_the_way_back() {
    let place = Place::after(prisma::all()).await;
    let whole = place.listing_of("public").await;
    place.run(EARLIER_MODEL).await;
    place.run(ROWS).await;
    let (before, rows) = (place.listing().await, place.rows().await);
    let url = place.database.url();
    up(url).await.unwrap();
    assert_eq!(place.listing_of("public").await, whole);
    assert_eq!(up(url).await, Ok(Vec::new()));

    let unknown = r#"UPDATE "HostOnboarding" SET "status" = 'UNKNOWN'"#;
    place.run(unknown).await;
    down(url).await.unwrap();
    place.holds(&before).await;
    let row = rows.iter().map(|row| row.replace("PAUSED", "INCOMPLETE"));
    assert_eq!(place.rows().await, row.collect::<Vec<_>>());

    // A type that something else needs keeps its value, and no row has it.
    up(url).await.unwrap();
    place.run(unknown).await;
    place
        .run(r#"CREATE VIEW held AS SELECT "status" FROM "HostOnboarding""#)
        .await;
    down(url).await.unwrap();
    let status = r#"SELECT "status"::text FROM "HostOnboarding""#;
    assert_eq!(place.column(status).await, ["INCOMPLETE"]);
    up(url).await.unwrap();
    assert_eq!(check(url).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_may_have_made_a_part() {
    for models in [
        &["Booking", "Invoice"][..],
        &["HostOnboarding"],
        &["Booking", "HostOnboarding"],
        // Without its bookings: the app may live in another database.
        &["Invoice"],
    ] {
        let place = Place::after(&prisma::statements(models)).await;
        let before = place.listing().await;
        up(place.database.url()).await.unwrap();
        let all: Vec<&str> = ["Booking", "Invoice", "HostOnboarding"]
            .into_iter()
            .filter(|model| *model != "Booking" || models.contains(model))
            .collect();
        assert_eq!(place.listing_of("public").await, prismas(&all).await);
        down(place.database.url()).await.unwrap();
        place.holds(&before).await;
    }
    // Only the type.
    let place = Place::after(r#"CREATE TYPE "InvoiceStatus" AS ENUM ('DRAFT', 'SENT', 'PAID')"#);
    let place = place.await;
    let before = place.listing().await;
    up(place.database.url()).await.unwrap();
    down(place.database.url()).await.unwrap();
    place.holds(&before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_more_than_the_models_ask_for_fits() {
    let place = Place::new().await;
    for change in [
        r#"ALTER TABLE "Invoice" ADD "note" text"#,
        r#"ALTER TABLE "Invoice" ADD "seen" boolean NOT NULL DEFAULT false"#,
        r#"ALTER TYPE "InvoiceStatus" ADD VALUE 'REFUNDED'"#,
        r#"ALTER TYPE "InvoiceStatus" ADD VALUE 'NEW' BEFORE 'DRAFT'"#,
        r#"CREATE INDEX ON "Invoice" ("stripeInvoiceId")"#,
        r#"ALTER TABLE "Invoice" ALTER "createdAt" DROP DEFAULT"#,
        r#"ALTER TABLE "Invoice" ALTER "id" DROP DEFAULT; ALTER TABLE "Invoice" ALTER "id" ADD GENERATED ALWAYS AS IDENTITY"#,
        // Prisma's relationMode "prisma" makes no foreign keys.
        r#"ALTER TABLE "Invoice" DROP CONSTRAINT "Invoice_bookingId_fkey""#,
        r#"ALTER TABLE "Invoice" DROP CONSTRAINT "Invoice_pkey", DROP COLUMN "id", ADD "id" SERIAL PRIMARY KEY"#,
        r#"DROP INDEX "Invoice_bookingId_key"; ALTER TABLE "Invoice" ADD UNIQUE ("bookingId") INCLUDE ("status")"#,
        r#"ALTER TABLE "HostOnboarding" ADD "note" text"#,
        r#"ALTER TABLE "HostOnboarding" ALTER "pastDue" SET DEFAULT '{}'"#,
        r#"ALTER TYPE "HostOnboardingStatus" ADD VALUE 'ARCHIVED'"#,
        r#"ALTER TABLE "Booking" ADD "guestId" text NOT NULL, ALTER "id" DROP DEFAULT"#,
    ] {
        place
            .run("DROP SCHEMA IF EXISTS stripe CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            .await;
        place.run(prisma::all()).await;
        place.run(change).await;
        let before = place.listing_of("public").await;
        up(place.database.url()).await.unwrap();
        assert_eq!(place.listing_of("public").await, before, "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prismas_schema_parameter_names_the_schema_of_the_tables() {
    for (schema, encoded) in [("shop", "shop"), ("Sho'p %", "Sho%27p%20%25")] {
        let place = Place::after(&format!("CREATE SCHEMA \"{schema}\"")).await;
        let url = format!("{}?schema={encoded}", place.database.url());
        let empty = place.listing().await;
        up(&url).await.unwrap();
        assert_eq!(check(&url).await, Ok(()));
        let public = place.listing_of("public").await;
        assert_eq!(
            public,
            BTreeSet::from(["public.".into(), public_comment(&public)])
        );
        let shop = place.listing_of(schema).await;
        let table = format!("{schema}.Invoice: relation r");
        assert!(shop.contains(&table), "{shop:#?}");

        // The worker writes there.
        let lab = Lab::with_url(place.database, url.clone()).await;
        assert_eq!(lab.take_one(&paid(1_760_000_000)).await, APPLIED);
        let rows =
            format!("SELECT \"stripeInvoiceId\" || \"status\" FROM \"{schema}\".\"Invoice\"");
        assert_eq!(lab.rows(&rows).await, ["in_1PAID"]);

        down(&url).await.unwrap();
        let place = Place {
            client: lab.client,
            database: lab.database,
        };
        place.holds(&empty).await;
    }
}

/// The line of the schema's comment, which differs between Postgres's versions.
fn public_comment(listing: &BTreeSet<String>) -> String {
    let comment = listing.iter().find(|line| line.contains(": comment"));
    comment.unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_and_column_of_ours_says_what_it_is() {
    let place = Place::new().await;
    up(place.database.url()).await.unwrap();
    let silent = place
        .column(
            "SELECT c.relname || coalesce('.' || a.attname, '') \
             FROM pg_class c \
             CROSS JOIN LATERAL (SELECT 0 AS attnum, NULL AS attname UNION ALL \
                 SELECT attnum, attname FROM pg_attribute \
                 WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) a \
             LEFT JOIN pg_description d ON d.objoid = c.oid AND d.objsubid = a.attnum \
                 AND d.classoid = 'pg_class'::regclass \
             WHERE c.relnamespace = 'stripe'::regnamespace AND c.relkind NOT IN ('i', 'S') \
                 AND coalesce(d.description, '') = ''",
        )
        .await;
    assert_eq!(silent, Vec::<String>::new());
    let listing = place.listing_of("stripe").await;
    for said in [
        "stripe.: comment What",
        "stripe.event: comment on it The",
        "stripe.event: comment on id The",
    ] {
        let says = listing.iter().any(|line| line.starts_with(said));
        assert!(says, "{said}: {listing:#?}");
    }
}

fn paid(created: i64) -> Event {
    let invoice = Invoice {
        id: "in_1".into(),
        created,
        ..Invoice::default()
    };
    Event::new("evt_1", "invoice.paid", invoice.value())
        .of_account("acct_a")
        .at(created)
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_stored_in_utc_whatever_the_sessions_zone() {
    for zone in ["America/New_York", "Asia/Kathmandu", "UTC"] {
        let place = Place::new().await;
        let name = place.database.name();
        place
            .run(&format!("ALTER DATABASE {name} SET timezone = '{zone}'"))
            .await;
        up(place.database.url()).await.unwrap();
        let lab = Lab::on(place.database).await;
        assert_eq!(lab.rows("SELECT current_setting('timezone')").await, [zone]);

        assert_eq!(lab.take_one(&paid(1_760_000_000)).await, APPLIED);
        let mut account = Account::default().value();
        account["requirements"]["current_deadline"] = 1_781_481_600.into();
        let updated = Event::new("evt_2", "account.updated", account).at(1_760_000_001);
        assert_eq!(lab.take_one(&updated).await, APPLIED);

        let invoice = r#"SELECT "createdAt"::text FROM "Invoice""#;
        assert_eq!(lab.rows(invoice).await, ["2025-10-09 08:53:20"], "{zone}");
        let host = r#"SELECT concat_ws(', ', "createdAt", "lastEventAt", "currentDeadline")
            FROM "HostOnboarding""#;
        assert_eq!(
            lab.rows(host).await,
            ["2025-10-09 08:53:20, 2025-10-09 08:53:21, 2026-06-15 00:00:00"],
            "{zone}"
        );
        let age = r#"SELECT (abs(extract(epoch FROM now() AT TIME ZONE 'UTC' - "updatedAt")) < 600)::text
            FROM "HostOnboarding""#;
        assert_eq!(lab.rows(age).await, ["true"], "{zone}");
        // What the column's default would have stored.
        let default = "SELECT (localtimestamp = now() AT TIME ZONE 'UTC')::text";
        assert_eq!(lab.rows(default).await, [(zone == "UTC").to_string()]);
    }
}
