//! Refunds, credit notes and failed finalizations: what `stripe.invoice` says of them, whichever
//! came first, and what does not change it. `model.rs` and `order.rs` try all orders.

use domain::outcome::Decision;
use harness::{
    leaks::PERSONAL,
    stripe::{ApiVersion, Charge, CreditNote, Event, SAMPLE_TIME},
};

use crate::support::{
    Lab,
    refunds::{note, of_a, paid, refund},
};

/// Nothing is dead, and nothing waits.
async fn all_applied(lab: &Lab) {
    let not =
        "SELECT id || ' ' || outcome FROM stripe.event WHERE outcome NOT IN ('applied', 'stale')";
    assert_eq!(lab.rows(not).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_finds_its_invoice_in_every_order_one_by_one_and_twice() {
    let lab = Lab::new().await;
    let [invoice, session] = paid(ApiVersion::NEWEST);
    let events = [
        invoice,
        session,
        refund("evt_ch", "ch_1", "pi_1", 1200),
        note("evt_cn", "cn_1", "in_1", 500),
    ];
    let mut states = Vec::new();
    for first in 0..4 {
        for second in (0..4).filter(|place| *place != first) {
            let rest = (0..4)
                .rev()
                .filter(|place| ![first, second].contains(place));
            let order: Vec<usize> = [first, second].into_iter().chain(rest).collect();
            lab.wipe().await;
            for place in order.iter().chain(&order) {
                lab.take_one(&events[*place]).await;
            }
            assert_eq!(lab.given_back().await, ["in_1 1200 500"], "{order:?}");
            let shown = &lab.invoices().await[0];
            assert!(shown.starts_with("1 in_1 PAID 45 eur"), "{shown}");
            assert_eq!(lab.waiting().await, Vec::<String>::new());
            all_applied(&lab).await;
            states.push(lab.state().await);
        }
    }
    assert!(states.iter().all(|state| *state == states[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_of_an_old_version_names_its_invoice_itself() {
    for version in ApiVersion::ALL {
        let lab = Lab::new().await;
        let [invoice, _] = paid(version);
        let mut charge = Charge {
            id: "ch_1".into(),
            intent: None,
            invoice: Some("in_1".into()),
            version,
            ..Charge::default()
        };
        charge.refunded = 700;
        let event = of_a(Event::new("evt_ch", "charge.refunded", charge.value()));
        assert_eq!(
            lab.take(&[event, invoice]).await,
            [Decision::Applied, Decision::Applied]
        );
        // The newer versions name none, and no session does it for them.
        let named = version < ApiVersion::V2025_03_31Basil;
        let expected = if named { "in_1 700 0" } else { "in_1 0 0" };
        assert_eq!(lab.given_back().await, [expected], "{}", version.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_accounts_charges_and_notes_change_nothing() {
    let lab = Lab::new().await;
    lab.take(&paid(ApiVersion::NEWEST)).await;
    lab.take(&[
        refund("evt_ch", "ch_1", "pi_1", 1200),
        note("evt_cn", "cn_1", "in_1", 500),
    ])
    .await;
    let before = lab
        .rows("SELECT to_jsonb(i)::text FROM stripe.invoice i")
        .await;
    let mut void = note("evt_2", "cn_1", "in_1", 500);
    void.kind = "credit_note.voided".into();
    let stranger = [
        refund("evt_1", "ch_1", "pi_1", 4500),
        void,
        refund("evt_3", "ch_2", "pi_1", 100),
        note("evt_4", "cn_2", "in_1", 100),
    ];
    let stranger = stranger.map(|event| event.at(SAMPLE_TIME + 900).of_account("acct_b"));
    lab.take(&stranger).await;
    assert_eq!(
        lab.rows("SELECT to_jsonb(i)::text FROM stripe.invoice i")
            .await,
        before
    );
    // They are kept as what they are: another account's.
    let kept = "SELECT concat_ws(' ', id, account, amount_refunded) FROM stripe.charge ORDER BY 1";
    assert_eq!(
        lab.rows(kept).await,
        ["ch_1 acct_a 1200", "ch_1 acct_b 4500", "ch_2 acct_b 100"]
    );
    all_applied(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_of_the_hosts_own_shop_is_kept_small_and_waits_for_nothing() {
    let lab = Lab::new().await;
    let events = [
        refund("evt_ch", "ch_shop", "pi_shop", 100),
        note("evt_cn", "cn_shop", "in_shop", 50),
    ];
    lab.take(&events).await;
    all_applied(&lab).await;
    assert_eq!(lab.given_back().await, Vec::<String>::new());
    let kept = "SELECT to_jsonb(c)::text FROM stripe.charge c \
        UNION ALL SELECT to_jsonb(n)::text FROM stripe.credit_note n";
    let kept = lab.rows(kept).await;
    assert_eq!(kept.len(), 2);
    for row in kept {
        assert!(
            PERSONAL.iter().all(|personal| !row.contains(personal)),
            "{row}"
        );
        assert!(row.len() < 400, "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_hundred_notes_count_and_no_sum_overflows() {
    let lab = Lab::new().await;
    let [invoice, session] = paid(ApiVersion::NEWEST);
    let mut notes: Vec<Event> = (0..150)
        .map(|index| {
            note(
                &format!("evt_{index}"),
                &format!("cn_{index:03}"),
                "in_1",
                1 << (index % 50),
            )
        })
        .collect();
    let first: i64 = (0..100).map(|index| 1_i64 << (index % 50)).sum();
    notes.push(invoice);
    notes.push(session);
    for batches in [1, 4, 152] {
        lab.wipe().await;
        // The last notes come first.
        let all: Vec<Event> = notes.iter().rev().cloned().collect();
        for batch in all.chunks(all.len().div_ceil(batches)) {
            lab.take(batch).await;
        }
        assert_eq!(
            lab.given_back().await,
            [format!("in_1 0 {first}")],
            "{batches}"
        );
    }
    // One of the first that becomes void makes room for the next.
    let void = CreditNote {
        id: "cn_000".into(),
        invoice: "in_1".into(),
        total: 1,
        is_void: true,
    };
    let void = Event::new("evt_void", "credit_note.voided", void.value());
    lab.take_one(&of_a(void)).await;
    let next = first - 1 + (1_i64 << (100 % 50));
    assert_eq!(lab.given_back().await, [format!("in_1 0 {next}")]);

    let huge = [
        refund("evt_h1", "ch_1", "pi_1", i64::MAX),
        refund("evt_h2", "ch_2", "pi_1", i64::MAX),
    ];
    lab.take(&huge).await;
    assert_eq!(
        lab.given_back().await,
        [format!("in_1 {} {next}", i64::MAX)]
    );
    all_applied(&lab).await;
}
