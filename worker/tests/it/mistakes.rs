//! A release whose handler is mistaken about good events: for each reason that
//! reading can give, the event is found by it, the handler is mended, the event is
//! sent again, and it is applied once.

use crate::support::{
    Lab,
    operator::Operator,
    payments::nth_paid,
    running::{Options, Running, publish, until},
};
use domain::{
    event::{self as events, Event, Rejected},
    rejection::Rejection,
    rules::Rules,
};
use harness::test_servers::TestBroker;

fn mistakes() -> Vec<Rejection> {
    let field = "data.object";
    vec![
        Rejection::UnreadableEvent { why: "so".into() },
        Rejection::UnreadableObject { column: 1 },
        Rejection::OtherObject { expected: "card" },
        Rejection::NulInText { field },
        Rejection::TextTooLong { field, limit: 1 },
        Rejection::InvalidBookingId,
        Rejection::UnknownStatus { field },
        Rejection::TimeOutOfRange { field },
        Rejection::MissingAccount,
        Rejection::AccountMismatch,
    ]
}

/// Makes the mistake that the event's number says.
fn mistaken(body: &[u8], rules: &Rules) -> Result<Event, Rejected> {
    let header = events::decode(body, rules)?.header;
    let number: usize = header.id["evt_".len()..].parse().unwrap();
    Err(Rejected {
        header: Some(Box::new(header)),
        rejection: mistakes().swap_remove(number),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_of_a_handler_can_be_made_good() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("mistakes"));
    let options = Options {
        decode: mistaken,
        ..Options::default()
    };
    let worker = Running::with(&broker, broker.url(), lab.worker_url(), options).await;
    let count = mistakes().len();
    for number in 0..count {
        publish(&broker, &nth_paid(number)).await;
    }
    let states = "SELECT state || ' ' || count(*) || ' ' || sum(attempts) \
        FROM stripe.dead_letter GROUP BY state";
    until(&lab.client, states, &format!("dead {count} {count}")).await;
    worker.stop().await;
    assert!(lab.invoices().await.is_empty());

    let worker = Running::start(&broker, lab.worker_url()).await;
    let operator = Operator::new(lab.worker_url(), &broker);
    for (number, mistake) in mistakes().iter().enumerate() {
        let (id, code) = (format!("evt_{number}"), mistake.code());
        let listed = operator
            .run(&format!("dead-letters list --reason {code} --json"))
            .await
            .well();
        let listed: Vec<String> = listed
            .objects()
            .iter()
            .map(|letter| letter["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(listed, [id.as_str()], "{code}");
        let shown = operator.run(&format!("dead-letters show {id}")).await;
        assert!(shown.well().out.contains(&mistake.to_string()), "{code}");
        let replayed = operator
            .run(&format!(
                "dead-letters replay --reason {code} --yes --follow --json"
            ))
            .await
            .well();
        assert_eq!(replayed.objects()[1]["outcome"], "applied", "{code}");
        // Its mistake made it judged once, and the replay once more.
        assert_eq!(
            lab.ledger(&id).await.unwrap(),
            ("applied".into(), None, 2),
            "{code}"
        );
        assert_eq!(lab.invoices().await.len(), number + 1, "{code}");
    }
    until(&lab.client, states, &format!("resolved {count} {count}")).await;
    worker.stop().await;
}
