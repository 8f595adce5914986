//! News of refunds and credit notes: each change of what was given back of the invoice that a
//! booking shows is told once, whatever came first and whatever was in the way.

use harness::{
    stripe::{ApiVersion, CreditNote, Event, SAMPLE_TIME},
    test_servers::TestBroker,
};
use serde_json::{Value, json};

use crate::support::{
    Lab,
    news::{data, heard, last, publish, publisher, telling, told},
    operator::Operator,
    refunds::{note, of_a, paid, refund},
};

/// What was told of the booking, in short: kind, version, and what was given back.
async fn amounts(lab: &Lab) -> Vec<String> {
    lab.rows(
        "SELECT concat_ws(' ', replace(kind, 'booking.invoice.', ''), row_version, \
            payload ->> 'amountRefunded', payload ->> 'amountCredited') \
         FROM stripe.outbox ORDER BY id",
    )
    .await
}

/// A refund of the booking's charge, of which so much is refunded by then.
fn refunded(seconds: i64, amount: i64) -> Event {
    let refund = refund(&format!("evt_ch{seconds}"), "ch_1", "pi_1", amount);
    refund.at(SAMPLE_TIME + seconds)
}

/// The one credit note of the booking's invoice is void.
fn void(seconds: i64) -> Event {
    let note = CreditNote {
        id: "cn_1".into(),
        invoice: "in_1".into(),
        total: 500,
        is_void: true,
    };
    let event = Event::new("evt_void", "credit_note.voided", note.value());
    of_a(event).at(SAMPLE_TIME + seconds)
}

/// A database whose worker has told that the booking is paid.
async fn sold() -> Lab {
    let lab = telling().await;
    lab.take(&paid(ApiVersion::NEWEST)).await;
    assert_eq!(amounts(&lab).await, ["paid 1 0 0"]);
    lab
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_what_was_given_back_is_told_once() {
    let lab = sold().await;
    let credited = note("evt_cn", "cn_1", "in_1", 500).at(SAMPLE_TIME + 3);
    let events = [refunded(1, 1200), refunded(2, 2000), credited, void(4)];
    for event in &events {
        lab.take_one(event).await;
        // A second delivery tells nothing.
        lab.take_one(event).await;
    }
    let expected = [
        "paid 1 0 0",
        "refunded 2 12 0",
        "refunded 3 20 0",
        "refunded 4 20 5",
        "refunded 5 20 0",
    ];
    assert_eq!(amounts(&lab).await, expected);
    assert_eq!(
        last(&lab).await,
        json!({
            "bookingId": 1, "stripeInvoiceId": "in_1", "status": "PAID", "amount": "45",
            "currency": "eur", "amountRefunded": "20", "amountCredited": "0", "hasPdf": true,
            "stripeAccountId": "acct_a",
        })
    );
    // Neither does an older refund that comes late, nor another account's.
    lab.take_one(&refunded(0, 300)).await;
    let others = refund("evt_b", "ch_b", "pi_1", 4500).of_account("acct_b");
    lab.take_one(&others).await;
    assert_eq!(amounts(&lab).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_came_before_the_row_is_told_behind_it() {
    let mut lab = Lab::with_bookings(&[]).await;
    lab.executor.outbox = store::outbox::Outbox::On;
    lab.take_one(&refunded(1, 1200)).await;
    lab.take_one(&note("evt_cn", "cn_1", "in_1", 500)).await;
    for event in paid(ApiVersion::NEWEST) {
        lab.take_one(&event).await;
    }
    // The main app does not have the booking yet.
    assert_eq!(told(&lab).await, Vec::<String>::new());
    lab.book(1).await;
    lab.project_pending().await;
    lab.project_pending().await;
    let expected = ["paid 1 12 5", "refunded 2 12 5"];
    assert_eq!(amounts(&lab).await, expected);
}

/// Whatever the order, the last news has the final amounts, and no amounts are told twice in
/// succession.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_news_has_the_final_amounts_in_every_order() {
    let [invoice, session] = paid(ApiVersion::NEWEST);
    let events = [
        invoice,
        session,
        refunded(1, 1200),
        refunded(2, 2000),
        note("evt_cn", "cn_1", "in_1", 500),
        void(4),
        note("evt_cn2", "cn_2", "in_1", 250),
    ];
    for seed in 0..12 {
        let lab = telling().await;
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut twice: Vec<Event> = events.iter().chain(&events).cloned().collect();
        rng.shuffle(&mut twice);
        let mut rest = twice.as_slice();
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(1 + rng.usize(..rest.len().min(3)));
            lab.take(batch).await;
            rest = others;
        }
        let all = amounts(&lab).await;
        let end = last(&lab).await;
        let given_back = (&end["amountRefunded"], &end["amountCredited"]);
        assert_eq!(given_back, (&json!("20"), &json!("2.5")), "{seed}: {all:?}");
        let refunds = all.iter().filter_map(|one| one.strip_prefix("refunded "));
        let refunds: Vec<&str> = refunds.map(|one| one.split_once(' ').unwrap().1).collect();
        assert!(!refunds.is_empty(), "{seed}: {all:?}");
        let repeats = refunds.windows(2).filter(|pair| pair[0] == pair[1]);
        assert_eq!(repeats.count(), 0, "{seed}: {all:?}");
    }
}

/// What the main app's tables hold up is told by the job that finds them free.
#[tokio::test(flavor = "multi_thread")]
async fn a_refund_while_the_main_app_holds_its_tables_is_told_later() {
    let lab = sold().await;
    let holder = lab.database.connect().await.unwrap();
    let lock = r#"BEGIN; LOCK TABLE "Invoice" IN ACCESS EXCLUSIVE MODE"#;
    holder.batch_execute(lock).await.unwrap();
    lab.take_one(&note("evt_cn", "cn_1", "in_1", 500)).await;
    lab.take_one(&refunded(1, 1200)).await;
    lab.take_one(&void(2)).await;
    assert_eq!(amounts(&lab).await, ["paid 1 0 0"]);
    holder.batch_execute("ROLLBACK").await.unwrap();
    lab.project_pending().await;
    lab.project_pending().await;
    assert_eq!(amounts(&lab).await, ["paid 1 0 0", "refunded 2 12 0"]);
    assert_eq!(lab.pending().await, Vec::<String>::new());
}

/// The news is undone with what notes that it was told.
#[tokio::test(flavor = "multi_thread")]
async fn a_refund_whose_news_cannot_be_written_is_told_later() {
    let lab = sold().await;
    let refuse = "ALTER TABLE stripe.outbox_refund ADD CONSTRAINT no CHECK (false) NOT VALID";
    lab.client.batch_execute(refuse).await.unwrap();
    lab.take_one(&refunded(1, 1200)).await;
    assert_eq!(amounts(&lab).await, ["paid 1 0 0"]);
    assert_eq!(lab.pending().await, ["booking 1 check 1"]);
    let allow = "ALTER TABLE stripe.outbox_refund DROP CONSTRAINT no";
    lab.client.batch_execute(allow).await.unwrap();
    lab.project_pending().await;
    assert_eq!(amounts(&lab).await, ["paid 1 0 0", "refunded 2 12 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_computed_anew_tell_nothing_that_was_told() {
    let (lab, broker) = (sold().await, TestBroker::new("refundsanew"));
    let credited = note("evt_cn", "cn_1", "in_1", 500);
    for event in [refunded(1, 1200), credited] {
        lab.take_one(&event).await;
    }
    let before = amounts(&lab).await;
    assert_eq!(before.len(), 3);
    let operator = Operator::new(lab.worker_url(), &broker)
        .with("STRIPE_MODE", "test")
        .with("CHANGES", "yes");
    // Sample objects are older than the ledger: what is known of them counts as all there is.
    let old = "UPDATE stripe.event SET first_seen_at = to_timestamp(0)";
    lab.client.batch_execute(old).await.unwrap();
    for line in ["rebuild --booking 1 --yes", "rebuild --all --yes"] {
        let rebuilt = operator.run(line).await;
        assert_eq!(amounts(&lab).await, before, "{line}: {}", rebuilt.out);
    }
    assert_eq!(lab.given_back().await, ["in_1 1200 500"]);
}

/// Another invoice of the booking takes the place of one that was credited.
#[tokio::test(flavor = "multi_thread")]
async fn of_another_invoice_that_the_booking_shows_its_own_refunds_are_told() {
    let lab = telling().await;
    let invoice = |id: &str, status: &str, seconds: i64| {
        let object = harness::stripe::Invoice {
            id: id.into(),
            status: status.into(),
            booking: Some("1".into()),
            ..harness::stripe::Invoice::default()
        };
        let kind = format!(
            "invoice.{}",
            if status == "open" {
                "finalized"
            } else {
                "voided"
            }
        );
        let event = Event::new(&format!("evt_{id}{seconds}"), &kind, object.value());
        of_a(event).at(SAMPLE_TIME + seconds)
    };
    for event in [
        invoice("in_1", "open", 0),
        note("evt_cn", "cn_1", "in_1", 500),
        invoice("in_2", "open", 1),
        // The booking shows the newer one, or the one with the greater id.
        note("evt_cn2", "cn_2", "in_2", 500),
        invoice("in_2", "void", 2),
    ] {
        lab.take_one(&event).await;
    }
    let query = "SELECT concat_ws(' ', replace(kind, 'booking.invoice.', ''), \
        payload ->> 'stripeInvoiceId', payload ->> 'amountCredited') FROM stripe.outbox ORDER BY id";
    assert_eq!(
        lab.rows(query).await,
        [
            "sent in_1 0",
            "refunded in_1 5",
            "sent in_2 0",
            "refunded in_2 5",
            "voided in_2 5",
            // Its own refund was told.
            "sent in_1 5",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lists_and_publishes_the_news_of_a_refund_again() {
    let (lab, broker) = (sold().await, TestBroker::new("refundnews"));
    let queue = broker.hear("booking.invoice.refunded").await.unwrap();
    lab.take_one(&refunded(1, 1200)).await;
    lab.take_one(&refunded(2, 2000)).await;
    let mut job = publisher(&lab, &broker, broker.url());
    publish(&mut job).await.unwrap();
    let first = heard(&broker, &queue, 2).await;
    let operator = Operator::new(lab.worker_url(), &broker);
    let line = "changes list --kind booking.invoice.refunded --json";
    let listed = operator.run(line).await.well().objects();
    let listed: Vec<&Value> = listed
        .iter()
        .map(|one| &one["payload"]["amountRefunded"])
        .collect();
    assert_eq!(listed, ["20", "12"]);
    let line = "changes republish --since 1h --yes";
    operator.run(line).await.well();
    publish(&mut job).await.unwrap();
    let again = heard(&broker, &queue, 2).await;
    for (first, again) in first.iter().zip(&again) {
        assert_eq!(data(first), data(again));
    }

    // Erasing the account leaves nothing of it.
    operator.run("forget --account acct_a --yes").await.well();
    let left = "SELECT invoice_id FROM stripe.outbox_refund";
    assert_eq!(lab.rows(left).await, Vec::<String>::new());
}
