//! Requests that are accepted, and the messages that they publish.

use crate::support::{App, OLD_SECRET, SECRET, broker_and_spy, event, seen};
use harness::stripe::{Event, now, sign, thin_event};
use hyper::StatusCode;
use ingest::limits::Limits;
use serde_json::json;
use shared::message::Meta;

#[tokio::test]
async fn an_event_is_published_as_it_was_signed() {
    let (broker, spy) = broker_and_spy("intake").await;
    let app = App::start(&broker, Limits::default()).await;
    let body = Event::new("evt_1", "invoice.paid", json!({ "name": "Zoë\u{1f600}" }))
        .of_account("acct_1Host")
        .bytes();
    let before = now() * 1000;
    let answer = app.deliver(&body).await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (StatusCode::OK, "ok\n")
    );

    let messages = seen(&broker, &spy).await;
    let [message] = messages.as_slice() else {
        panic!("{} messages", messages.len());
    };
    assert_eq!(message.data, body);
    assert_eq!(message.routing_key.as_str(), "invoice.paid");
    assert_eq!(message.exchange.as_str(), broker.events_exchange());
    let properties = &message.properties;
    assert_eq!(properties.delivery_mode(), &Some(2));
    let content_type = properties.content_type().as_ref().unwrap();
    assert_eq!(content_type.as_str(), "application/json");
    let meta = Meta::read(properties);
    assert_eq!(meta.event_id.as_deref(), Some("evt_1"));
    assert_eq!(meta.event_type.as_deref(), Some("invoice.paid"));
    assert!((before..=now() * 1000 + 1000).contains(&meta.received_at_millis.unwrap()));
    assert_eq!(meta.traceparent.unwrap().len(), 55);
    // What the body says is not said again.
    let headers = properties.headers().as_ref().unwrap().inner();
    let names: Vec<&str> = headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["received_at", "traceparent"]);
    assert_eq!(broker.depth(&broker.worker_queue()).await.unwrap(), 1);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_trace_is_carried_on() {
    let (broker, spy) = broker_and_spy("trace").await;
    let app = App::start(&broker, Limits::default()).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = event("evt_1", "invoice.paid");
    let signature = sign(SECRET, now(), &body);
    let headers = [
        ("stripe-signature", signature.as_str()),
        ("traceparent", parent),
    ];
    let url = format!("{}/webhooks/stripe?any=query", app.base());
    let answer = harness::http::send(hyper::Method::POST, &url, &headers, body).await;
    assert_eq!(answer.unwrap().status, StatusCode::OK);
    let messages = seen(&broker, &spy).await;
    let meta = Meta::read(&messages[0].properties);
    assert_eq!(meta.traceparent.as_deref(), Some(parent));
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_megabyte_arrives_unchanged() {
    let (broker, spy) = broker_and_spy("megabyte").await;
    let app = App::start(&broker, Limits::default()).await;
    let lines: Vec<_> = (0..10_000)
        .map(|line| json!({ "id": format!("il_{line}"), "description": "été 映画 \u{0} \"quoted\"" }))
        .collect();
    let body = Event::new("evt_big", "invoice.updated", json!({ "lines": lines })).bytes();
    assert!(
        body.len() > 1_000_000 && body.len() < 2_000_000,
        "{}",
        body.len()
    );
    assert_eq!(app.deliver(&body).await.status, StatusCode::OK);
    let messages = seen(&broker, &spy).await;
    assert_eq!(messages.len(), 1);
    assert!(messages[0].data == body, "the bytes differ");
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_taken() {
    let (broker, spy) = broker_and_spy("limit").await;
    let app = App::start(&broker, Limits::default()).await;
    let mut body = event("evt_1", "invoice.paid");
    body.resize(ingest::limits::MAX_BODY, b' ');
    assert_eq!(app.deliver(&body).await.status, StatusCode::OK);
    assert!(seen(&broker, &spy).await[0].data == body);
    body.push(b' ');
    assert_eq!(
        app.deliver(&body).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(broker.depth(&spy).await.unwrap(), 0);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_chunked_body_is_put_together() {
    let (broker, spy) = broker_and_spy("chunked").await;
    let app = App::start(&broker, Limits::default()).await;
    let body = event("evt_1", "invoice.paid");
    let signature = sign(SECRET, now(), &body);
    let mut request = format!(
        "POST /webhooks/stripe HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\nstripe-signature: {signature}\r\n\r\n"
    )
    .into_bytes();
    for chunk in body.chunks(7) {
        request.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    let answer = app.raw(&request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(seen(&broker, &spy).await[0].data, body);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn an_unrouted_event_is_accepted_and_counted() {
    let broker = harness::test_servers::TestBroker::new("unrouted");
    let app = App::start(&broker, Limits::default()).await;
    let unknown = event("evt_1", "price.created");
    assert_eq!(app.deliver(&unknown).await.status, StatusCode::OK);
    let unrouted = r#"ingest_accepted_total{outcome="unrouted"}"#;
    assert_eq!(app.metric(unrouted).await, 1.0);
    assert_eq!(broker.depth(&broker.worker_queue()).await.unwrap(), 0);
    // Another service may bind a queue to this type: the event is published anyway.
    let spy = broker.spy(["price.created"]).await.unwrap();
    assert_eq!(app.deliver(&unknown).await.status, StatusCode::OK);
    assert_eq!(seen(&broker, &spy).await.len(), 1);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn an_event_of_the_other_mode_is_accepted_and_not_published() {
    let (broker, spy) = broker_and_spy("mode").await;
    let app = App::start(&broker, Limits::default()).await;
    let mut live = Event::new("evt_1", "invoice.paid", json!({}));
    live.livemode = true;
    assert_eq!(app.deliver(&live.bytes()).await.status, StatusCode::OK);
    assert_eq!(broker.depth(&spy).await.unwrap(), 0);
    let other = r#"ingest_accepted_total{outcome="other_mode"}"#;
    assert_eq!(app.metric(other).await, 1.0);
    // An event without `livemode` counts as one of the served mode.
    let mut silent = Event::new("evt_2", "invoice.paid", json!({})).value();
    silent.as_object_mut().unwrap().remove("livemode");
    let body = silent.to_string().into_bytes();
    assert_eq!(app.deliver(&body).await.status, StatusCode::OK);
    assert_eq!(broker.depth(&spy).await.unwrap(), 1);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_thin_event_passes_the_same_way() {
    let broker = harness::test_servers::TestBroker::new("thin");
    let kind = "v2.core.account[requirements].updated";
    let spy = broker.spy([kind]).await.unwrap();
    let app = App::start(&broker, Limits::default()).await;
    let body = thin_event("evt_thin", kind, "acct_1Host");
    assert_eq!(app.deliver(&body).await.status, StatusCode::OK);
    let messages = seen(&broker, &spy).await;
    assert_eq!(messages[0].data, body);
    assert_eq!(messages[0].routing_key.as_str(), kind);
    let meta = Meta::read(&messages[0].properties);
    assert_eq!(meta.event_id.as_deref(), Some("evt_thin"));
    assert_eq!(meta.event_type.as_deref(), Some(kind));
    app.stop().await.unwrap();
}

#[tokio::test]
async fn every_secret_fits_and_is_counted() {
    let (broker, spy) = broker_and_spy("secrets").await;
    let app = App::start(&broker, Limits::default()).await;
    for (id, secret) in [
        ("evt_1", SECRET),
        ("evt_2", OLD_SECRET),
        ("evt_3", OLD_SECRET),
    ] {
        let body = event(id, "invoice.paid");
        let signature = sign(secret, now(), &body);
        assert_eq!(app.post(&signature, &body).await.status, StatusCode::OK);
    }
    assert_eq!(broker.depth(&spy).await.unwrap(), 3);
    assert_eq!(
        app.metric(r#"ingest_verified_total{secret="default"}"#)
            .await,
        1.0
    );
    assert_eq!(
        app.metric(r#"ingest_verified_total{secret="old"}"#).await,
        2.0
    );
    app.stop().await.unwrap();
}

#[tokio::test]
async fn odd_but_authentic_events_are_taken() {
    let (broker, spy) = broker_and_spy("odd").await;
    let app = App::start(&broker, Limits::default()).await;
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let bodies = [
        r#"{"id":"evt_1","object":"event","type":"invoice.paid"}"#.to_owned(),
        format!(r#"{{"id":"evt_1","object":"event","type":"invoice.paid","data":{open}{close}}}"#),
        r#"{"id":"evt_1","object":"event","type":"invoice.paid","data":{"a":"\u0000"}}"#.into(),
        r#"{"id":"evt_1","object":"event","type":"invoice.paid","data":1,"data":2,"request":"req_1"}"#.into(),
        r#"{"type":"invoice.paid","created":"soon","livemode":"no","account":7,"object":"event","id":"evt_1"}"#.into(),
    ];
    for body in &bodies {
        assert_eq!(
            app.deliver(body.as_bytes()).await.status,
            StatusCode::OK,
            "{body:.80}"
        );
    }
    let messages = seen(&broker, &spy).await;
    assert_eq!(messages.len(), bodies.len());
    for (message, body) in messages.iter().zip(&bodies) {
        assert!(message.data == body.as_bytes(), "{body:.80}");
    }
    app.stop().await.unwrap();
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let (broker, spy) = broker_and_spy("keepalive").await;
    let app = App::start(&broker, Limits::default()).await;
    let mut requests = Vec::new();
    for id in 0..20 {
        let body = event(&format!("evt_{id}"), "invoice.paid");
        let signature = sign(SECRET, now(), &body);
        let last = if id == 19 {
            "connection: close\r\n"
        } else {
            ""
        };
        let length = body.len();
        let head = format!(
            "POST /webhooks/stripe HTTP/1.1\r\nhost: a\r\n{last}content-length: {length}\r\n\
             stripe-signature: {signature}\r\n\r\n"
        );
        requests.extend(head.as_bytes());
        requests.extend(&body);
    }
    let answers = app.raw(&requests).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 20);
    let ids: Vec<_> = seen(&broker, &spy)
        .await
        .iter()
        .map(|message| Meta::read(&message.properties).event_id.unwrap())
        .collect();
    let expected: Vec<_> = (0..20).map(|id| format!("evt_{id}")).collect();
    assert_eq!(ids, expected);
    app.stop().await.unwrap();
}
