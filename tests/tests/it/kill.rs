//! A worker that is killed between its commit and its ack has had its effect
//! once.

use harness::proxy::Proxy;

use crate::support::{BOUND, Deployment, paid};

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_between_commit_and_ack() {
    let dialoom = Deployment::start("kill").await;
    dialoom.book(1).await;
    dialoom.book(2).await;
    let proxy = Proxy::before(dialoom.broker.url(), 5672).await.unwrap();
    let mut worker = dialoom.worker(proxy.url()).await;

    // From here on the worker hears, but its acks do not arrive.
    proxy.stall_client();
    assert_eq!(dialoom.deliver(&paid(1)).await, 200);
    let rows = r#"SELECT string_agg("stripeInvoiceId", ',' ORDER BY 1) FROM "Invoice""#;
    dialoom
        .until(&format!("SELECT coalesce(({rows}), '')"), "in_1")
        .await;
    let first = "SELECT xmin::text || processed_at::text FROM stripe.event WHERE id = 'evt_1'";
    let before = dialoom.read(first).await;
    worker.kill9();
    proxy.cut();

    // The broker gives the event to the next worker, which has seen it.
    let queue = dialoom.broker.worker_queue();
    dialoom.broker.until_depth(&queue, 1, BOUND).await.unwrap();
    let mut worker = dialoom.worker(dialoom.broker.url()).await;
    assert_eq!(dialoom.deliver(&paid(2)).await, 200);
    dialoom
        .until(&format!("SELECT coalesce(({rows}), '')"), "in_1,in_2")
        .await;
    assert_eq!(
        dialoom.read(first).await,
        before,
        "the first event was written again"
    );

    assert!(worker.terminate().await.unwrap().unwrap().success());
    assert_eq!(dialoom.broker.depth(&queue).await.unwrap(), 0);
    assert_eq!(
        dialoom.broker.depth(&dialoom.broker.dead()).await.unwrap(),
        0
    );
}
