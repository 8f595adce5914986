//! Hosts that write into the metadata of their own objects whatever costs the worker most.
//! What one further event costs, and one look for bookings, does not grow with what they
//! wrote before.

use crate::support::attack::{
    Attack, Costs, LATER, NEWEST, TEN_PAGES, attacked, empty, kept, named, print_times, withstood,
};
use store::event::MAX_RECLASSIFIED;

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_names_one_booking_after_the_other_costs_what_any_costs() {
    let (lab, bytes, claims) = withstood(Attack {
        name: "one invoice names another booking each time",
        events: 50_000,
        event: |number| named(number, "in_x", Some(1 + number % 800)),
        owner_query: None,
        look: NEWEST,
    })
    .await;
    // 16 bookings, and nothing of those after them.
    assert!(bytes < 10_000, "{bytes} bytes");
    assert!(claims < 16 + 2 * 100, "{claims} claims");
    let row = "SELECT concat_ws(' ', booking_id, waiting) FROM stripe.invoice WHERE id = 'in_x'";
    assert_eq!(lab.rows(row).await, ["too_many_bookings"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_goes_back_and_forth_costs_what_any_costs() {
    let (lab, bytes, _) = withstood(Attack {
        name: "one invoice alternates between two bookings",
        events: 50_000,
        event: |number| named(number, "in_x", Some(7 + number % 2)),
        owner_query: None,
        look: NEWEST,
    })
    .await;
    assert!(bytes < 3_000, "{bytes} bytes");
    let claims = "SELECT count(*)::text FROM stripe.booking_claim WHERE object_id = 'in_x'";
    assert_eq!(lab.rows(claims).await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_thousands_of_invoices_name_costs_what_fifty_cost() {
    let (lab, ..) = withstood(Attack {
        name: "invoices that name one booking",
        events: 10_000,
        event: |number| named(number, &format!("in_{number}"), Some(7)),
        owner_query: None,
        look: NEWEST,
    })
    .await;
    let waiting = "SELECT (count(*) FILTER (WHERE waiting IS NULL))::text \
        FROM stripe.invoice WHERE claimed_booking_id = 7";
    assert_eq!(lab.rows(waiting).await, ["50"]);
}

/// Without statistics PostgreSQL believes that a booking has a two-hundredth of all claims: with
/// ten thousand, fewer than are asked for, so that reading all of them looks no worse.
#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_claims_on_a_booking_the_first_are_read() {
    let lab = empty().await;
    let claims = "INSERT INTO stripe.booking_claim \
        (booking_id, account, object_kind, object_id, event_created, event_id) \
        SELECT 7, 'acct_hostile', 'invoice', 'in_old' || i, now() - interval '1 day', 'evt_old' || i \
        FROM generate_series(1, 10000) i";
    // A session of its own: the rows that it wrote are counted when it ends.
    let client = lab.database.connect().await.unwrap();
    client.batch_execute(claims).await.unwrap();
    drop(client);
    let attack = Attack {
        name: "claims on one booking",
        events: 10_000,
        event: |number| named(number, &format!("in_{number}"), Some(7)),
        owner_query: None,
        look: NEWEST,
    };
    // The first of them waits until the rows above are counted.
    Costs::after(&lab, &attack, 0).await;
    let costs = Costs::after(&lab, &attack, 1).await;
    assert!(costs.host.rows < 500, "{costs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn invoices_of_no_booking_cost_nothing_afterwards() {
    withstood(Attack {
        name: "invoices that name no booking",
        events: 100_000,
        event: |number| named(number, &format!("in_{number}"), None),
        owner_query: None,
        look: NEWEST,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invoices_of_bookings_that_are_not_there_cost_nothing_afterwards() {
    withstood(Attack {
        name: "invoices that name bookings which are not there",
        events: 100_000,
        event: |number| named(number, &format!("in_{number}"), Some(2_000 + number)),
        owner_query: None,
        look: TEN_PAGES,
    })
    .await;
}

/// Two hosts at once: the bookings are another's, whose events came first.
#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_goes_back_and_forth_between_bookings_of_another() {
    let attack = Attack {
        name: "one invoice alternates between two bookings of another account",
        events: 50_000,
        event: |number| match number {
            0 | 1 => {
                let invoice = format!("in_owner_{number}");
                named(number, &invoice, Some(7 + number % 2)).of_account("acct_owner")
            }
            _ => named(number, "in_x", Some(7 + number % 2)),
        },
        owner_query: None,
        look: NEWEST,
    };
    let (lab, _, late) = attacked(&attack).await;
    // A transaction changes the outcomes of so many events at most, and writes a dead letter of
    // each. Until the job has written the rest, those that follow change none.
    let most = 16 * i64::try_from(MAX_RECLASSIFIED).unwrap();
    let further = Costs::after(&lab, &attack, 2).await;
    assert!(late.host.rows < most, "{late:?}");
    assert!(further.host.rows < 40, "{further:?}");
    assert!(
        late.stranger.rows < 20 && late.look.rows <= attack.look,
        "{late:?}"
    );
    let (bytes, _) = kept(&lab).await;
    assert!(bytes < 3_000, "{bytes} bytes");
    print_times(&lab, &attack).await;
}

/// The deployment's query decides: what it said before is not known, so every event of a claim
/// asks what the events before came to.
#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_leaves_its_booking_for_one_of_another_host() {
    withstood(Attack {
        name: "thousands of events of one invoice, and then another host's booking",
        events: 50_000,
        event: |number| named(number, "in_x", Some(if number < LATER { 7 } else { 8 })),
        owner_query: Some(
            "SELECT \"id\", CASE WHEN \"id\" = 8 THEN 'acct_owner' ELSE 'acct_hostile' END \
             FROM \"Booking\" WHERE \"id\" = ANY($1)",
        ),
        look: NEWEST,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invoices_of_bookings_whose_owner_is_unknown_cost_a_bounded_look() {
    withstood(Attack {
        name: "invoices that name bookings whose owner nobody knows",
        events: 100_000,
        event: |number| named(number, &format!("in_{number}"), Some(2_000 + number)),
        owner_query: Some(r#"SELECT "id", 'acct_stranger' FROM "Booking" WHERE "id" = ANY($1)"#),
        look: TEN_PAGES,
    })
    .await;
}
