//! The stand-in's own deliveries.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::start;
use crate::{stripe::sign, stripe_api::Order};

const SECRET: &str = "whsec_standin";

/// How often each event came, with those whose signature was wrong.
type Seen = Arc<Mutex<HashMap<String, u32>>>;

/// A webhook endpoint that answers its first requests with 503.
async fn endpoint(refusals: u32, seen: Seen) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let left = Arc::new(Mutex::new(refusals));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (seen, left) = (Arc::clone(&seen), Arc::clone(&left));
            let service =
                service_fn(move |request| take(request, Arc::clone(&seen), Arc::clone(&left)));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn take(
    request: Request<Incoming>,
    seen: Seen,
    left: Arc<Mutex<u32>>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let given = request.headers()["stripe-signature"]
        .to_str()
        .unwrap()
        .to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let timestamp = given[2..].split(',').next().unwrap().parse().unwrap();
    assert_eq!(given, sign(SECRET, timestamp, &body));
    let mut left = left.lock().unwrap();
    let mut response = Response::new(Empty::new());
    if *left > 0 {
        *left -= 1;
        *response.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
        return Ok(response);
    }
    let event: Value = serde_json::from_slice(&body).unwrap();
    *seen
        .lock()
        .unwrap()
        .entry(event["id"].as_str().unwrap().to_owned())
        .or_default() += 1;
    Ok(response)
}

#[tokio::test]
async fn every_event_is_delivered_as_often_as_the_order_says() {
    for (order, times) in [(Order::AsMade, 1), (Order::ShuffledTwice(3), 2)] {
        let api = start().await;
        for host in 0..3 {
            let _ = api.enabled_account("ES", &json!({ "hostId": format!("host-{host}") }));
        }
        let seen = Seen::default();
        let address = endpoint(2, Arc::clone(&seen)).await;
        let sent = api.deliver(&address, SECRET, order).await.unwrap();
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 3);
        assert!(seen.values().all(|&count| count == times), "{seen:?}");
        assert_eq!(sent.len(), 3 * times as usize);
        assert!(api.take_events().is_empty());
    }
}

#[tokio::test]
async fn events_are_delivered_soon_after_they_were_made() {
    let api = start().await;
    let seen = Seen::default();
    let address = endpoint(1, Arc::clone(&seen)).await;
    api.keep_delivering(&address, SECRET, Order::ShuffledTwice(5));
    for host in 0..3 {
        let _ = api.enabled_account("ES", &json!({ "hostId": format!("host-{host}") }));
    }
    api.until_delivered(Duration::from_secs(20)).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen.values().all(|&count| count == 2), "{seen:?}");
}
