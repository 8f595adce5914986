//! Late claims of which more events have another outcome than one transaction writes.

use crate::support::{Lab, claims::claim};
use harness::stripe::Event;
use serde_json::json;
use store::event::MAX_RECLASSIFIED;
use tokio_util::sync::CancellationToken;
use worker::jobs::{Job, write_late_outcomes::WriteLateOutcomes};

/// A transaction changes the outcomes of some of an object's events, and the job those of the rest.
#[tokio::test(flavor = "multi_thread")]
async fn the_outcomes_of_hundreds_of_events_follow_in_pieces() {
    const EVENTS: usize = 3 * MAX_RECLASSIFIED;
    let lab = Lab::new().await;
    let naming = |id: &str, account: &str, invoice: &str, booking: i32, after: i64| {
        let mut event = claim(id, account, invoice, after);
        event.object["metadata"] = json!({ "dialoomBookingId": booking.to_string() });
        event
    };
    for booking in [7, 8] {
        let (id, invoice) = (format!("evt_of_{booking}"), format!("in_of_{booking}"));
        lab.take_one(&naming(&id, "acct_a", &invoice, booking, 0))
            .await;
    }
    let of_another = |number: usize, booking: i32| {
        let after = i64::try_from(number).unwrap() + 10;
        naming(&format!("evt_x_{number}"), "acct_x", "in_x", booking, after)
    };
    let events: Vec<Event> = (0..EVENTS).map(|number| of_another(number, 7)).collect();
    lab.take(&events[..EVENTS / 2]).await;
    lab.take(&events[EVENTS / 2..]).await;
    let outcomes = "SELECT concat_ws(' ', claimed_booking_id, outcome, count(*)) FROM stripe.event \
        WHERE object_id = 'in_x' GROUP BY claimed_booking_id, outcome ORDER BY 1";
    assert_eq!(lab.rows(outcomes).await, [format!("7 dead {EVENTS}")]);
    let noted = "SELECT kind || ' ' || id FROM stripe.late_outcome";
    let mut job = WriteLateOutcomes {
        executor: lab.executor.clone(),
    };
    let stop = CancellationToken::new();
    // A claim that is taken back forbids nothing, so the events before are no longer refused.
    lab.take_one(&of_another(EVENTS, 8)).await;
    assert_eq!(lab.rows(noted).await, ["invoice in_x"]);
    let rest = EVENTS - MAX_RECLASSIFIED;
    assert_eq!(
        lab.rows(outcomes).await,
        [
            format!("7 applied {MAX_RECLASSIFIED}"),
            format!("7 dead {rest}"),
            "8 dead 1".into()
        ]
    );
    while !lab.rows(noted).await.is_empty() {
        job.run_once(&stop).await.unwrap();
    }
    assert_eq!(
        lab.rows(outcomes).await,
        [format!("7 applied {EVENTS}"), "8 dead 1".into()]
    );
    // And back again: an event that follows while the job has work leaves it to the job.
    lab.take_one(&of_another(EVENTS + 1, 7)).await;
    let all_but_some = lab.rows(outcomes).await;
    lab.take_one(&of_another(EVENTS + 2, 7)).await;
    assert_eq!(lab.rows(outcomes).await.len(), all_but_some.len());
    while !lab.rows(noted).await.is_empty() {
        job.run_once(&stop).await.unwrap();
    }
    assert_eq!(
        lab.rows(outcomes).await,
        [format!("7 dead {}", EVENTS + 2), "8 applied 1".into()]
    );
    let letters = "SELECT state || ' ' || count(*) FROM stripe.dead_letter \
        WHERE event_id LIKE 'evt_x%' GROUP BY state ORDER BY 1";
    assert_eq!(
        lab.rows(letters).await,
        [format!("dead {}", EVENTS + 2), "resolved 1".into()]
    );
}

/// Else the outcomes of one object would keep those of all others waiting.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_written_holds_up_no_other() {
    let lab = Lab::new().await;
    let note = "INSERT INTO stripe.late_outcome (kind, id, noted_at) VALUES \
            ('invoice', 'in_bad', now() - interval '2 h'), \
            ('invoice', 'in_1', now() - interval '1 h'), ('invoice', 'in_2', now()); \
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \
            'BEGIN IF OLD.id = ''in_bad'' THEN RAISE ''so it is''; END IF; RETURN OLD; END'; \
        CREATE TRIGGER fail BEFORE DELETE ON stripe.late_outcome \
            FOR EACH ROW EXECUTE FUNCTION fail()";
    lab.client.batch_execute(note).await.unwrap();
    let mut job = WriteLateOutcomes {
        executor: lab.executor.clone(),
    };
    let stop = CancellationToken::new();
    let noted = "SELECT id FROM stripe.late_outcome ORDER BY 1";
    for _ in 0..3 {
        // With time for one of them alone in a run it comes in its turn.
        let _failed = job.run_once(&stop).await;
    }
    assert_eq!(lab.rows(noted).await, ["in_bad"]);
    // Nothing else is there to be done: the job says that it failed.
    job.run_once(&stop).await.unwrap_err();
    let mend = "DROP TRIGGER fail ON stripe.late_outcome";
    lab.client.batch_execute(mend).await.unwrap();
    job.run_once(&stop).await.unwrap();
    assert_eq!(lab.rows(noted).await, Vec::<String>::new());
}
