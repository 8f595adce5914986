//! Every hot statement goes by an index, and every index is there for one.

use std::time::Duration;

use crate::support::Lab;
use domain::{ids::AccountId, ownership::Owner};
use harness::tokio_postgres::Client;
use harness::{
    stripe::{Account, Charge, CheckoutSession, CreditNote, Event, Invoice},
    wait::{self, Seen},
};
use tokio_util::sync::CancellationToken;
use worker::jobs::project_pending::ProjectPending;

/// Enough rows that reading a whole table is never the better plan.
const ROWS: &str = r#"
    INSERT INTO "Booking" SELECT generate_series(1, 20000);
    INSERT INTO "Invoice" ("bookingId", "stripeInvoiceId", "pdfUrl", "amount", "currency", "status")
        SELECT i, 'in_old' || i, '', 45, 'eur', 'PAID' FROM generate_series(1, 20000) i;
    INSERT INTO stripe.event (id, type, created, outcome, object_id)
        SELECT 'evt_old' || i, 'invoice.paid', now(), 'applied',
            'in_old' || i FROM generate_series(1, 20000) i;
    INSERT INTO stripe.invoice (id, account, booking_id, status, event_created, event_id, waiting, owner_unknown)
        SELECT 'in_old' || i, 'acct_a', 30000 + i, CASE WHEN i > 100 THEN 'paid' ELSE 'open' END, now(), 'evt_old' || i,
            CASE WHEN i % 20 = 0 THEN 'no_booking' END, i % 100 = 0 FROM generate_series(1, 20000) i;
    INSERT INTO stripe.checkout_session (id, account, invoice_id, event_created, event_id, owner_unknown)
        SELECT 'cs_old' || i, 'acct_a', 'in_old' || i, now(), 'evt_old' || i, i % 100 = 0 FROM generate_series(1, 20000) i;
    INSERT INTO stripe.charge (id, account, payment_intent_id, invoice_id, amount_refunded, event_created, event_id)
        SELECT 'ch_old' || i, 'acct_a', 'pi_old' || i, CASE WHEN i % 2 = 0 THEN 'in_old' || i END, 1, now(),
            'evt_old' || i FROM generate_series(1, 20000) i;
    INSERT INTO stripe.credit_note (id, account, invoice_id, amount, is_void, event_created, event_id)
        SELECT 'cn_old' || i, 'acct_a', 'in_old' || i, 1, i % 10 = 0, now(), 'evt_old' || i FROM generate_series(1, 20000) i;
    INSERT INTO stripe.booking_claim
        SELECT 30000 + i, 'acct_a', 'invoice', 'in_old' || i, now(), 'evt_old' || i FROM generate_series(1, 20000) i;
    INSERT INTO stripe.account (id, api_needed) SELECT 'acct_old' || i, i % 100 = 0 FROM generate_series(1, 20000) i;
    INSERT INTO stripe.account_transition
        SELECT 'acct_old' || i, now(), 'evt_old' || i, 'authorized' FROM generate_series(1, 20000) i;
    INSERT INTO stripe.command (key, state, idempotency_key, payload_hash, api, account, object_id, finished_at)
        SELECT 'booking.checkout:' || 30000 + i, 'done', '', '', 'v1', 'acct_a', 'cs_old' || i,
            now() - interval '2 days' + CASE WHEN i = 700 THEN interval '2 days' ELSE interval '0' END
        FROM generate_series(1, 20000) i;
    INSERT INTO "HostOnboarding" SELECT 'acct_old' || i, NULL, 'ENABLED', true, true, true, true, '{}', '{}',
        '{}', '{}', NULL, NULL, NULL, NULL, NULL, now(), now(), now() FROM generate_series(1, 20000) i;
"#;

/// Nobody has looked at the tables yet, and nobody will during the test.
const NO_STATISTICS: &str = r#"
    ALTER TABLE "Booking" SET (autovacuum_enabled = false);
    ALTER TABLE "Invoice" SET (autovacuum_enabled = false);
    ALTER TABLE "HostOnboarding" SET (autovacuum_enabled = false);
    ALTER TABLE stripe.event SET (autovacuum_enabled = false);
    ALTER TABLE stripe.invoice SET (autovacuum_enabled = false);
    ALTER TABLE stripe.checkout_session SET (autovacuum_enabled = false);
    ALTER TABLE stripe.charge SET (autovacuum_enabled = false);
    ALTER TABLE stripe.credit_note SET (autovacuum_enabled = false);
    ALTER TABLE stripe.booking_claim SET (autovacuum_enabled = false);
    ALTER TABLE stripe.account SET (autovacuum_enabled = false);
    ALTER TABLE stripe.account_transition SET (autovacuum_enabled = false);
    ALTER TABLE stripe.command SET (autovacuum_enabled = false);
"#;

const SCANS: &str = r#"
    SELECT coalesce(string_agg(relname || ' ' || seq_scan, ', ' ORDER BY relname), '')
    FROM pg_stat_user_tables
    WHERE seq_scan > 0 AND (schemaname = 'stripe' OR relname IN ('Invoice', 'HostOnboarding', 'Booking'))"#;

const UNUSED: &str = r#"
    SELECT coalesce(string_agg(indexrelname, ', ' ORDER BY indexrelname), '')
    FROM pg_stat_user_indexes
    WHERE idx_scan = 0 AND (schemaname = 'stripe' OR relname IN ('Invoice', 'HostOnboarding'))
      -- What operators read; their commands have tests of their own.
      AND relname NOT IN ('dead_letter', 'replay', 'replay_item', 'event_archive')
      -- Nothing is written to it unless it is turned on.
      AND relname NOT IN ('outbox', 'outbox_version', 'outbox_refund')
      -- So have the main app's commands.
      AND relname NOT IN ('command', 'api_read') AND indexrelname NOT IN ('account_host_id', 'invoice_account_idx')
      AND indexrelname NOT IN ('event_first_seen_idx', 'event_dead_idx')
      AND indexrelname NOT IN (__EXPECTED__)"#;

fn events(index: usize) -> Vec<Event> {
    let invoice = Invoice {
        id: format!("in_{index}"),
        booking: None,
        ..Invoice::default()
    };
    let session = CheckoutSession {
        id: format!("cs_{index}"),
        invoice: Some(invoice.id.clone()),
        booking: Some((index + 1).to_string()),
        ..CheckoutSession::default()
    };
    let charge = Charge {
        id: format!("ch_{index}"),
        intent: Some(format!("pi_{index}")),
        ..Charge::default()
    };
    let note = CreditNote {
        id: format!("cn_{index}"),
        invoice: format!("in_{index}"),
        ..CreditNote::default()
    };
    let mut session = session.value();
    session["payment_intent"] = format!("pi_{index}").into();
    let account = Account {
        id: format!("acct_{}", index % 5),
        ..Account::default()
    };
    vec![
        Event::new(&format!("evt_i{index}"), "invoice.paid", invoice.value()).of_account("acct_a"),
        Event::new(
            &format!("evt_s{index}"),
            "checkout.session.completed",
            session,
        )
        .of_account("acct_a"),
        Event::new(&format!("evt_c{index}"), "charge.refunded", charge.value())
            .of_account("acct_a"),
        Event::new(
            &format!("evt_n{index}"),
            "credit_note.created",
            note.value(),
        )
        .of_account("acct_a"),
        Event::new(&format!("evt_a{index}"), "account.updated", account.value()),
    ]
}

/// A booking that changes hands twice: events are refused after all, and accepted
/// after all.
fn overtaken(booking: usize) -> Vec<Event> {
    let by = |account: &str, invoice: &str, seconds: i64| {
        let invoice = Invoice {
            id: format!("in_{invoice}{booking}"),
            booking: Some(booking.to_string()),
            ..Invoice::default()
        };
        let id = format!("evt_o{booking}_{seconds}");
        let event = Event::new(&id, "invoice.paid", invoice.value()).of_account(account);
        let at = event.created - seconds;
        event.at(at)
    };
    vec![
        by("acct_a", "x", 10),
        by("acct_b", "y", 20),
        by("acct_a", "x", 30),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_statements_read_no_whole_table_and_every_index_is_needed() {
    let lab = Lab::with_bookings(&[]).await;
    lab.client.batch_execute(ROWS).await.unwrap();
    // So many that paid invoices are counted.
    let reads = "INSERT INTO stripe.api_read VALUES ((now() AT TIME ZONE 'UTC')::date, 9000)";
    lab.client.batch_execute(reads).await.unwrap();
    lab.client
        .batch_execute("ANALYZE; SELECT pg_stat_reset()")
        .await
        .unwrap();
    for index in 0..10 {
        for event in events(index) {
            lab.take_one(&event).await;
        }
    }
    let all: Vec<Event> = (10..20).flat_map(events).collect();
    lab.take(&all).await;
    lab.take(&all).await;
    for event in overtaken(500) {
        lab.take_one(&event).await;
    }
    let mut job = ProjectPending::new(lab.executor.clone());
    job.write_pending(&CancellationToken::new()).await.unwrap();
    job.poll_all().await.unwrap();
    {
        let conn = lab.executor.pool.get().await.unwrap();
        store::account::needing_api(&conn, "", 100).await.unwrap();
        let backlog = store::backlog::count(&conn).await.unwrap();
        assert!(!backlog.waiting.is_empty(), "{backlog:?}");
        store::api_read::count(&conn).await.unwrap();
        store::api_read::reads(&conn).await.unwrap();
        store::account::of_host(&conn, "host-7", 10).await.unwrap();
        let attempt = store::command::Attempt {
            key: "host.onboard:7",
            idempotency_key: "key-1",
            payload_hash: &[0; 32],
            api: "v2",
            account: None,
            request: &serde_json::json!({}),
            cancels: None,
        };
        store::command::begin(&conn, &attempt).await.unwrap();
        store::command::cancels(&conn, "booking.cancel:7", 60.0)
            .await
            .unwrap();
        store::command::end(
            &conn,
            attempt.key,
            1,
            store::command::End::Made("acct_old1"),
        )
        .await
        .unwrap();
        store::command::find(&conn, attempt.key).await.unwrap();
        store::command::key_of(&conn, "acct_old1").await.unwrap();
        let day = chrono::TimeDelta::days(1);
        let since = shared::clock::now_utc() - day;
        let paid = store::command::payable_of_paid(&conn, since, None, 100).await;
        assert_eq!(paid.unwrap().len(), 1);
        store::event_query::newly_handled(&conn, &["invoice.paid"], 10)
            .await
            .unwrap();
    }
    let mut conn = lab.executor.pool.get().await.unwrap();
    let note = store::write(&mut conn, async |tx| {
        store::crash_note::begin_together(tx, &["evt_i1", "evt_i2"]).await?;
        store::crash_note::begin(tx, "evt_i1").await?;
        store::crash_note::find(tx, &["evt_i1"]).await?;
        store::crash_note::remove(tx, &["evt_i1", "evt_i2"]).await?;
        let of = domain::source::Recheck {
            owners: [domain::ids::BookingId(7)].into(),
            ..Default::default()
        };
        let nothing = domain::source::Recheck::default();
        store::late_outcome::replace(tx, &nothing, &of).await?;
        assert_eq!(store::late_outcome::next(tx).await?, Some(of.clone()));
        assert_eq!(store::late_outcome::noted(tx, &of).await?, of);
        store::late_outcome::replace(tx, &of, &nothing).await
    });
    note.await.unwrap();
    drop(conn);

    // A connection hands its counts over at the latest when it ends.
    let Lab {
        database, executor, ..
    } = lab;
    drop(executor);
    let client = database.connect().await.unwrap();
    // Made for keys only, or read by at a start only.
    let unused = UNUSED.replace(
        "__EXPECTED__",
        "'Invoice_pkey', 'made_here_pkey', '__diesel_schema_migrations_pkey', \
            'deployment_pkey', 'changes_setting_pkey'",
    );
    wait::until(
        "all indexes used",
        Duration::from_secs(20),
        async || match client
            .query_one(&unused, &[])
            .await
            .unwrap()
            .get::<_, String>(0)
        {
            none if none.is_empty() => Seen::Reached(()),
            unused => Seen::NotYet(unused),
        },
    )
    .await
    .unwrap();
    assert_eq!(scans(&client).await, "", "whole tables were read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_unit_reads_no_whole_table_before_there_are_statistics() {
    let lab = Lab::with_bookings(&[]).await;
    lab.client.batch_execute(NO_STATISTICS).await.unwrap();
    lab.client.batch_execute(ROWS).await.unwrap();
    lab.client
        .batch_execute("SELECT pg_stat_reset()")
        .await
        .unwrap();
    let all: Vec<Event> = (0..170).flat_map(events).collect();
    for unit in all.chunks(100) {
        lab.take(unit).await;
    }
    lab.take(&all).await;
    for event in overtaken(500) {
        lab.take_one(&event).await;
    }

    let Lab {
        database, executor, ..
    } = lab;
    drop(executor);
    let client = database.connect().await.unwrap();
    until_read(&client, "checkout_session").await;
    assert_eq!(scans(&client).await, "", "whole tables were read");
}

async fn scans(client: &Client) -> String {
    client.query_one(SCANS, &[]).await.unwrap().get(0)
}

/// Claims of others on one booking, as many as a host likes to make.
const CROWD: &str = r#"
    INSERT INTO stripe.booking_claim
        SELECT 7, 'acct_1Forger', CASE WHEN i % 2 = 0 THEN 'invoice' ELSE 'session' END,
            CASE WHEN i % 2 = 0 THEN 'in_old' ELSE 'cs_old' END || i, to_timestamp(i), 'evt_old' || i
        FROM generate_series(1, 20000) i;
    INSERT INTO stripe.booking_claim
        SELECT 7, 'acct_1Host', 'session', 'cs_host' || i, now(), 'evt_host' || i FROM generate_series(1, 60) i;
    INSERT INTO stripe.checkout_session (id, account, invoice_id, event_created, event_id, status)
        SELECT 'cs_host' || i, 'acct_1Host', 'in_host' || i, now(), 'evt_host' || i,
            CASE WHEN i = 2 THEN 'complete' END FROM generate_series(1, 60) i;
    INSERT INTO stripe.invoice (id, account, booking_id, status, event_created, event_id)
        SELECT 'in_host' || i, 'acct_1Host', 7, 'draft', now(), 'evt_host' || i FROM generate_series(1, 60) i;
    INSERT INTO stripe.command (key, state, idempotency_key, payload_hash, api, account, object_id, finished_at)
        VALUES ('booking.checkout:7', 'done', '', '', 'v1', 'acct_1Host', 'cs_host1', to_timestamp(1));
"#;

/// What is known of a booking is read by indexes, and no more of it than counts, whoever names
/// the booking how often.
#[tokio::test(flavor = "multi_thread")]
async fn what_names_a_booking_is_read_by_indexes_and_bounded() {
    for analyze in ["", "ANALYZE; "] {
        let lab = Lab::with_bookings(&[]).await;
        lab.client.batch_execute(NO_STATISTICS).await.unwrap();
        lab.client.batch_execute(ROWS).await.unwrap();
        lab.client.batch_execute(CROWD).await.unwrap();
        let reset = format!("{analyze}SELECT pg_stat_reset()");
        lab.client.batch_execute(&reset).await.unwrap();
        {
            let conn = lab.executor.pool.get().await.unwrap();
            let host = AccountId::from("acct_1Host");
            let configured = Owner::Account(host.clone());
            for (owner, accounts) in [(Some(&configured), vec![]), (None, vec![host])] {
                let known = store::booking_query::of_booking(&conn, 7, owner, &accounts);
                let known = known.await.unwrap();
                // Those of the host that count, and one more.
                let its = known.sessions.iter();
                let its = its.filter(|session| session.account == "acct_1Host");
                assert_eq!(its.count(), 51);
                assert!(known.sessions.len() <= 102, "{}", known.sessions.len());
                assert!(known.invoices.len() <= 102, "{}", known.invoices.len());
                assert!(known.invoices.iter().any(|one| one.account == "acct_1Host"));
            }
            let long_ago = chrono::DateTime::UNIX_EPOCH;
            let paid = store::command::payable_of_paid(&conn, long_ago, None, 100).await;
            // The host's own claims are among them, whoever claims the booking before.
            let paid = paid.unwrap();
            assert!(paid.iter().any(|one| one.key == "booking.checkout:7"));
            let accounts = ["acct_a", "acct_b"].map(AccountId::from);
            let after = Some("in_old7");
            let page = store::booking_query::of_accounts(&conn, &accounts, after, 50);
            page.await.unwrap();
        }
        let Lab {
            database, executor, ..
        } = lab;
        drop(executor);
        let client = database.connect().await.unwrap();
        until_read(&client, "booking_claim").await;
        assert_eq!(scans(&client).await, "", "whole tables were read");
    }
}

/// Waits until the connections that have ended handed over what they read of the table.
async fn until_read(client: &Client, table: &str) {
    let read = "SELECT coalesce(sum(idx_scan), 0)::bigint FROM pg_stat_user_tables \
        WHERE relname = $1";
    wait::until(
        "the counts handed over",
        Duration::from_secs(20),
        async || match client
            .query_one(read, &[&table])
            .await
            .unwrap()
            .get::<_, i64>(0)
        {
            0 => Seen::NotYet("none yet".to_owned()),
            _ => Seen::Reached(()),
        },
    )
    .await
    .unwrap();
}
