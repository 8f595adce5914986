//! Commands over the broker: their forms, their answers, and what becomes of those that
//! nobody can answer any more.

use harness::{
    caller::{Caller, asking},
    stripe_api::{Fault, Gate, Kind},
    test_servers::TestBroker,
    wait::{self, Seen},
};
use lapin::{BasicProperties, options::QueueDeclareOptions, types::FieldTable};
use serde_json::{Value, json};

use crate::support::{
    desk::{Desk, onboard},
    desk_queue::Answering,
    running::BOUND,
};

async fn counted(wanted: u64, what: &str, count: impl Fn() -> u64) {
    wait::until(what.to_owned(), BOUND, async || match count() {
        found if found == wanted => Seen::Reached(()),
        found => Seen::NotYet(found.to_string()),
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_answered_in_the_form_in_which_it_was_asked() {
    let (desk, broker) = (Desk::new().await, TestBroker::new("commands"));
    let answering = Answering::start(&broker, &desk.service);
    let mut caller = Caller::new(&broker).await.unwrap();
    // Plain data, with the command as routing key.
    let answer = caller.ask("host.onboard", &onboard("42")).await.unwrap();
    let id = answer["response"]["stripeAccountId"].as_str().unwrap();
    assert!(id.starts_with("acct_"));
    assert_eq!(answer["isDisposed"], true);
    // NestJS's packet.
    let packet = json!({ "pattern": "host.status", "data": { "hostId": "42" }, "id": "x1" });
    let answer = caller.ask("stripe.commands", &packet).await.unwrap();
    assert_eq!(answer["response"]["stripeAccountId"], id);
    assert_eq!(answer["id"], "x1");
    // Errors, of every kind that a caller can make.
    let wrong = json!({ "hostId": "42", "x": 1 });
    let answer = caller.ask("host.status", &wrong).await.unwrap();
    assert_eq!(
        answer,
        json!({
            "err": {
                "code": "invalid_command", "message": "x is not known", "field": "x",
                "retryable": false,
            },
            "isDisposed": true,
        })
    );
    let answer = caller.ask("host.remove", &json!({})).await.unwrap();
    assert_eq!(answer["err"]["code"], "unknown_command");
    caller
        .send("host.status", b"\xff\0{", asking("7"))
        .await
        .unwrap();
    let (correlation, answer) = caller.answer().await.unwrap();
    assert_eq!(
        (correlation.as_str(), &answer["err"]["code"]),
        ("7", &json!("invalid_command"))
    );
    // Nothing is left of any of them, the poison included.
    answering.stop().await;
    for queue in ["stripe.commands", "stripe.commands.expired"] {
        let queue = format!("{}{queue}", broker.prefix());
        broker.until_depth(&queue, 0, BOUND).await.unwrap();
    }
}

/// One that asks for no answer is done all the same; one whose caller has gone is counted; one
/// that asks for the answer in a queue of ours gets none.
#[tokio::test(flavor = "multi_thread")]
async fn answers_go_only_to_callers() {
    let (desk, broker) = (Desk::new().await, TestBroker::new("answers"));
    let answering = Answering::start(&broker, &desk.service);
    let mut caller = Caller::new(&broker).await.unwrap();
    let body = onboard("1").to_string();
    caller
        .send("host.onboard", body.as_bytes(), BasicProperties::default())
        .await
        .unwrap();
    let gone = BasicProperties::default().with_reply_to("a.queue.that.has.gone".into());
    let body = onboard("2").to_string();
    caller
        .send("host.onboard", body.as_bytes(), gone)
        .await
        .unwrap();
    counted(1, "an answer that came back", || {
        answering.metrics.callers_gone.get()
    })
    .await;
    // The two were done side by side.
    wait::until("the first host", BOUND, async || {
        let records = desk.records().await;
        let is_done = |record: &String| record.starts_with("host.onboard:1 1 done");
        match records.iter().any(is_done) {
            true => Seen::Reached(()),
            false => Seen::NotYet(format!("{records:?}")),
        }
    })
    .await
    .unwrap();

    let commands = format!("{}stripe.commands", broker.prefix());
    let loops = BasicProperties::default().with_reply_to(commands.as_str().into());
    caller.send("host.status", b"{}", loops).await.unwrap();
    // An answer to a caller that is there is no answer that came back.
    let answer = caller
        .ask("host.status", &json!({ "hostId": "1" }))
        .await
        .unwrap();
    assert_eq!(answer["response"]["hostId"], "1");
    assert_eq!(answering.metrics.callers_gone.get(), 1);
    // A queue of the caller's own.
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = caller
        .channel
        .queue_declare("".into(), options, FieldTable::default())
        .await
        .unwrap();
    let own = BasicProperties::default().with_reply_to(queue.name().clone());
    caller
        .send("host.status", br#"{"hostId":"2"}"#, own)
        .await
        .unwrap();
    wait::until("an answer in the queue", BOUND, async || {
        let got = caller
            .channel
            .basic_get(queue.name().clone(), Default::default())
            .await
            .unwrap();
        match got {
            Some(answer) => {
                let answer: Value = serde_json::from_slice(&answer.data).unwrap();
                assert_eq!(answer["response"]["hostId"], "2");
                Seen::Reached(())
            }
            None => Seen::NotYet("nothing".into()),
        }
    })
    .await
    .unwrap();
    answering.stop().await;
    broker.until_depth(&commands, 0, BOUND).await.unwrap();
}

/// A command that waited for too long is answered and not done.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_command_is_answered_and_not_done() {
    let (desk, broker) = (Desk::new().await, TestBroker::new("expired"));
    // The queues are made, and nobody consumes them.
    let answering = Answering::start(&broker, &desk.service);
    let mut caller = Caller::new(&broker).await.unwrap();
    answering.stop().await;
    let body = onboard("42").to_string();
    let expiring = asking("9").with_expiration("1".into());
    caller
        .send("host.onboard", body.as_bytes(), expiring)
        .await
        .unwrap();
    let expired = format!("{}stripe.commands.expired", broker.prefix());
    broker.until_depth(&expired, 1, BOUND).await.unwrap();
    let answering = Answering::start(&broker, &desk.service);
    let (correlation, answer) = caller.answer().await.unwrap();
    assert_eq!(correlation, "9");
    assert_eq!(
        (&answer["err"]["code"], &answer["err"]["retryable"]),
        (&json!("expired"), &json!(true))
    );
    assert!(desk.api.requests().is_empty());
    answering.stop().await;
}

/// The worker takes a command at once and comes to Stripe after its deadline.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_late_at_stripe_is_answered_and_not_done() {
    let (desk, broker) = (Desk::new().await, TestBroker::new("late"));
    let answering = Answering::start(&broker, &desk.service);
    let mut caller = Caller::new(&broker).await.unwrap();
    for (id, expiration, code) in [("1", "0", Some("expired")), ("2", "30000", None)] {
        let body = onboard("42").to_string();
        let asking = asking(id).with_expiration(expiration.into());
        caller
            .send("host.onboard", body.as_bytes(), asking)
            .await
            .unwrap();
        let (_, answer) = caller.answer().await.unwrap();
        assert_eq!(answer["err"]["code"].as_str(), code, "{answer}");
        assert_eq!(desk.api.accounts().len(), usize::from(code.is_none()));
    }
    answering.stop().await;
}

/// The worker dies while Stripe makes the account: the broker gives the command to the next
/// one, which finishes it, and the caller has its answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_worker_dies_is_finished_by_the_next() {
    let (desk, broker) = (Desk::new().await, TestBroker::new("dying"));
    let dying = Answering::start(&broker, &desk.service);
    let mut caller = Caller::new(&broker).await.unwrap();
    let gate = Gate::new();
    desk.api.fault(Fault::post(
        "/v2/core/accounts",
        Kind::HeldAfter(gate.clone()),
    ));
    let body = onboard("42").to_string();
    caller
        .send("host.onboard", body.as_bytes(), asking("1"))
        .await
        .unwrap();
    gate.reached().await;
    dying.die();
    gate.release_all();
    let next = Answering::start(&broker, &desk.service);
    let (_, answer) = caller.answer().await.unwrap();
    let accounts = desk.api.accounts();
    assert_eq!(accounts.len(), 1);
    assert_eq!(answer["response"]["stripeAccountId"], accounts[0]["id"]);
    assert_eq!(desk.records().await, ["host.onboard:42 1 done t"]);
    next.stop().await;
}

/// Many at once: as many as are in hand wait for Stripe, and each has its own answer.
#[tokio::test(flavor = "multi_thread")]
async fn commands_do_not_wait_for_each_other() {
    let (desk, broker) = (Desk::new().await, TestBroker::new("many"));
    let answering = Answering::start(&broker, &desk.service);
    let mut caller = Caller::new(&broker).await.unwrap();
    desk.onboard("free").await.unwrap();
    let gate = Gate::new();
    let held = Kind::HeldBefore(gate.clone());
    desk.api
        .fault(Fault::post("/v2/core/accounts", held).times(20));
    for host in 0..20 {
        let host = host.to_string();
        let body = onboard(&host).to_string();
        caller
            .send("host.onboard", body.as_bytes(), asking(&host))
            .await
            .unwrap();
    }
    for _ in 0..20 {
        gate.reached().await;
    }
    // They wait at Stripe; another is answered meanwhile.
    caller
        .send("host.status", br#"{"hostId":"free"}"#, asking("free"))
        .await
        .unwrap();
    assert_eq!(caller.answer().await.unwrap().0, "free");
    gate.release_all();
    let mut answered = Vec::new();
    for _ in 0..20 {
        let (id, answer) = caller.answer().await.unwrap();
        assert_eq!(answer["err"], Value::Null, "{answer}");
        answered.push(id.parse::<u32>().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..20).collect::<Vec<_>>());
    assert_eq!(desk.api.accounts().len(), 21);
    answering.stop().await;
}
