//! Commands that an app would not send by mistake: none of them may hold up another command, or
//! be kept for ever.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use harness::{
    caller::{Caller, asking},
    test_servers::TestBroker,
    wait::{self, Seen},
};
use lapin::{BasicProperties, types::ShortString};
use serde_json::{Value, json};
use worker::commands::command::Name;

use crate::support::{
    desk::{Desk, onboard},
    desk_queue::Answering,
    running::BOUND,
};

/// The code and the field of what a command is refused with.
async fn refused(desk: &Desk, data: Value) -> (&'static str, String) {
    let error = desk.run(Name::HostOnboard, data).await.unwrap_err();
    (error.code, error.field.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_no_app_sends_by_mistake_are_named_and_reach_neither_stripe_nor_the_table() {
    let desk = Desk::new().await;
    let long = "a".repeat(501);
    for (field, value) in [
        ("hostId", json!("a\0b")),
        ("hostId", json!("42 ")),
        ("hostId", json!("\t42")),
        ("hostId", json!(long)),
        ("hostId", json!(u64::MAX)),
        ("hostId", json!(1e300)),
        ("hostId", json!(4.5)),
        ("hostId", json!({ "id": 1 })),
        ("email", json!("anna\0@example.org")),
        ("email", json!("anna@example.org\r\nBcc: all@example.org")),
        ("displayName", json!("Anna\0")),
        ("displayName", json!("A\u{1b}[31m")),
        ("country", json!("ÉS")),
        ("currency", json!("EUR")),
        ("capabilities", json!(["card_payments][requested]=true&x"])),
        ("capabilities", json!(vec!["a"; 21])),
        ("dashboard", json!("Express")),
        ("entityType", json!(["company"])),
    ] {
        let mut data = onboard("42");
        data[field] = value.clone();
        let expected = ("invalid_command", field.to_owned());
        assert_eq!(refused(&desk, data).await, expected, "{field} {value}");
    }
    for address in [
        "blob:https://app.example.com/x",
        "https://app.example.com\\@evil.example/",
        "https://app.example.com:443@evil.example/",
    ] {
        let mut data = onboard("42");
        data["returnUrl"] = address.into();
        let expected = ("redirect_refused", "returnUrl".to_owned());
        assert_eq!(refused(&desk, data).await, expected, "{address}");
    }
    assert!(desk.api.requests().is_empty());
    assert!(desk.records().await.is_empty());
}

/// The key of `stripe.command` is the command and the host's id with a colon between.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_with_strange_ids_are_hosts_of_their_own() {
    let desk = Desk::new().await;
    let longest = format!("{}:", "é%".repeat(166));
    let hosts = [
        "42",
        ":42",
        "42:",
        "host.onboard:42",
        "42' OR '1'='1",
        "%",
        "_2",
        "-1",
        "042",
        "{\"$ne\":1}",
        "👩‍🚀",
        longest.as_str(),
    ];
    for host in hosts {
        let made = desk.onboard(host).await.unwrap();
        let status = desk
            .run(Name::HostStatus, json!({ "hostId": host }))
            .await
            .unwrap();
        assert_eq!(status["stripeAccountId"], made["stripeAccountId"], "{host}");
        assert_eq!(status["hostId"], host);
        let again = desk.onboard(host).await.unwrap();
        assert_eq!(again["stripeAccountId"], made["stripeAccountId"], "{host}");
    }
    assert_eq!(desk.api.accounts().len(), hosts.len());
    // A number is the text of its digits.
    let mut number = onboard("");
    number["hostId"] = json!(42);
    desk.run(Name::HostOnboard, number).await.unwrap();
    assert_eq!(desk.api.accounts().len(), hosts.len());
}

/// Where an answer is to go is the sender's word.
#[tokio::test(flavor = "multi_thread")]
async fn reply_addresses_that_lead_nowhere_hold_up_nobody() {
    let (desk, broker) = (Desk::new().await, TestBroker::new("replies"));
    desk.onboard("42").await.unwrap();
    let answering = Answering::start(&broker, &desk.service);
    let mut caller = Caller::new(&broker).await.unwrap();
    let long = "a".repeat(255);
    let stolen = format!(
        "amq.rabbitmq.reply-to.{}",
        "g2dkAA9yYWJiaXRAbG9jYWxob3N0".repeat(3)
    );
    let other = "another.stripe.events.worker";
    for reply_to in [
        "",
        " ",
        "amq.rabbitmq.reply-to.",
        "amq.rabbitmq.reply-to.x",
        "amq.rabbitmq.reply-to.AAAA.BBBB",
        "amq.rabbitmq.reply-to.g2wAAAABYQFq.x",
        stolen.as_str(),
        "amq.gen-not-there",
        "stripe.commands",
        "stripe.dead",
        other,
        "\u{202e}é",
        long.as_str(),
    ] {
        let properties = BasicProperties::default()
            .with_reply_to(reply_to.into())
            .with_correlation_id(ShortString::from(long.clone()));
        let body = br#"{"hostId":"42"}"#;
        caller.send("host.status", body, properties).await.unwrap();
        let answer = caller
            .ask("host.status", &json!({ "hostId": "42" }))
            .await
            .unwrap();
        assert_eq!(answer["response"]["hostId"], "42", "after {reply_to}");
    }
    let queue = format!("{}stripe.commands", broker.prefix());
    broker.until_depth(&queue, 0, BOUND).await.unwrap();
    answering.stop().await;
    // Everything was acked: nothing comes back when the consumer has gone.
    broker.until_depth(&queue, 0, BOUND).await.unwrap();
}

/// Bodies of any kind, many of them, and then one that is good.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_nonsense_is_answered_and_leaves_nothing() {
    let (desk, broker) = (Desk::new().await, TestBroker::new("flood"));
    desk.onboard("42").await.unwrap();
    let answering = Answering::start(&broker, &desk.service);
    let mut caller = Caller::new(&broker).await.unwrap();
    let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let nested = format!("{}1{}", r#"{"data":"#.repeat(2_000), "}".repeat(2_000));
    let large = format!(r#"{{"hostId":"{}"}}"#, "a".repeat(1_000_000));
    let huge = format!(r#"{{"hostId":{}}}"#, "9".repeat(60_000));
    let many = format!("{{{}}}", {
        let fields: Vec<String> = (0..4_000).map(|n| format!(r#""f{n}":1"#)).collect();
        fields.join(",")
    });
    let bodies = [
        &deep,
        &nested,
        &large,
        &huge,
        &many,
        r#"{"hostId":"42","hostId":"43"}"#,
        r#"{"pattern":"host.status","pattern":"host.remove","data":{"hostId":"42"}}"#,
        r#"{"pattern":"{\"cmd\":[]}","data":{}}"#,
        r#"{"pattern":"host.status","data":[{"hostId":"42"}],"id":{"$gt":""}}"#,
        "\u{feff}{}",
    ];
    let rounds = 30;
    for _ in 0..rounds {
        for body in bodies {
            caller
                .send("host.status", body.as_bytes(), asking("x"))
                .await
                .unwrap();
        }
    }
    for _ in 0..rounds * bodies.len() {
        let (_, answer) = caller.answer().await.unwrap();
        assert_eq!(answer["err"]["code"], "invalid_command", "{answer}");
        let text = answer.to_string();
        assert!(text.len() < 2_000, "{} bytes", text.len());
    }
    let answer = caller
        .ask("host.status", &json!({ "hostId": "42" }))
        .await
        .unwrap();
    assert_eq!(answer["response"]["hostId"], "42");
    answering.stop().await;
    for queue in ["stripe.commands", "stripe.commands.expired"] {
        let queue = format!("{}{queue}", broker.prefix());
        broker.until_depth(&queue, 0, BOUND).await.unwrap();
    }
}

/// Names in AMQP are bytes, and the worker's client takes them for UTF-8: such a message ends
/// each session. The broker gives it up, and commands are answered again.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_client_cannot_read_is_given_up_by_the_broker() {
    let (desk, broker) = (Desk::new().await, TestBroker::new("bytes"));
    desk.onboard("42").await.unwrap();
    let answering = Answering::start(&broker, &desk.service);
    let mut caller = Caller::new(&broker).await.unwrap();
    let exchange = format!("{}stripe.commands", broker.prefix());
    let url = broker.url().to_owned();
    let publishing = move || publish_raw(&url, &exchange, b"host.status", b"\xff\xfe\x00");
    tokio::task::spawn_blocking(publishing).await.unwrap();
    let bound = std::time::Duration::from_secs(150);
    for queue in ["stripe.commands", "stripe.commands.expired"] {
        let queue = format!("{}{queue}", broker.prefix());
        wait::until(format!("an empty {queue}"), bound, async || {
            match broker.depth(&queue).await {
                Ok(0) => Seen::Reached(()),
                Ok(depth) => Seen::NotYet(depth.to_string()),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            }
        })
        .await
        .unwrap();
    }
    let host = json!({ "hostId": "42" });
    let answer = wait::until("an answer", bound, async || {
        caller
            .send("host.status", host.to_string().as_bytes(), asking("1"))
            .await
            .unwrap();
        let answer = caller.answer();
        match tokio::time::timeout(std::time::Duration::from_secs(10), answer).await {
            Ok(Ok((_, answer))) if answer["response"]["hostId"] == "42" => Seen::Reached(()),
            Ok(answer) => Seen::NotYet(format!("{answer:?}")),
            Err(_) => Seen::NotYet("no answer".into()),
        }
    });
    answer.await.unwrap();
    answering.stop().await;
}

/// Publishes a message whose `reply_to` is these bytes, by hand: no client library does it.
fn publish_raw(url: &str, exchange: &str, key: &[u8], reply_to: &[u8]) {
    let parts = url::Url::parse(url).unwrap();
    let (host, port) = (parts.host_str().unwrap(), parts.port().unwrap_or(5672));
    let mut stream = TcpStream::connect((host, port)).unwrap();
    let short = |bytes: &[u8]| [&[u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let long = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length, bytes].concat()
    };
    let frame = |kind: u8, channel: u16, payload: &[u8]| {
        let head = [&[kind][..], &channel.to_be_bytes()].concat();
        [head, long(payload), vec![0xce]].concat()
    };
    stream.write_all(b"AMQP\0\0\x09\x01").unwrap();
    let read = |stream: &mut TcpStream| {
        let mut head = [0; 7];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes(head[3..7].try_into().unwrap());
        let mut payload = vec![0; usize::try_from(length).unwrap() + 1];
        stream.read_exact(&mut payload).unwrap();
        payload
    };
    read(&mut stream);
    let secret = format!("\0{}\0{}", parts.username(), parts.password().unwrap_or(""));
    // connection.start-ok, tune-ok, open
    let start = [
        &[0, 10, 0, 11][..],
        &long(b""),
        &short(b"PLAIN"),
        &long(secret.as_bytes()),
        &short(b"en_US"),
    ]
    .concat();
    stream.write_all(&frame(1, 0, &start)).unwrap();
    read(&mut stream);
    let tune = [
        &[0, 10, 0, 31, 0, 10][..],
        &131_072_u32.to_be_bytes(),
        &[0, 0],
    ]
    .concat();
    stream.write_all(&frame(1, 0, &tune)).unwrap();
    let open = [&[0, 10, 0, 40][..], &short(b"/"), &short(b""), &[0]].concat();
    stream.write_all(&frame(1, 0, &open)).unwrap();
    read(&mut stream);
    // channel.open, confirm.select
    stream.write_all(&frame(1, 1, &[0, 20, 0, 10, 0])).unwrap();
    read(&mut stream);
    stream.write_all(&frame(1, 1, &[0, 85, 0, 10, 0])).unwrap();
    read(&mut stream);
    // basic.publish with its header (persistent, reply_to) and its body
    let body = br#"{"hostId":"42"}"#;
    let publish = [
        &[0, 60, 0, 40, 0, 0][..],
        &short(exchange.as_bytes()),
        &short(key),
        &[0],
    ]
    .concat();
    let size = u64::try_from(body.len()).unwrap().to_be_bytes();
    let flags = (1_u16 << 12 | 1 << 9).to_be_bytes();
    let header = [&[0, 60, 0, 0][..], &size, &flags, &[2], &short(reply_to)].concat();
    let frames = [
        frame(1, 1, &publish),
        frame(2, 1, &header),
        frame(3, 1, body),
    ];
    stream.write_all(&frames.concat()).unwrap();
    // The confirm.
    let confirmed = read(&mut stream);
    assert_eq!(&confirmed[..4], [0, 60, 0, 80]);
}
