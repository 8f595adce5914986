//! What operators see of refunds, credit notes and failed finalizations, and what the stand-in
//! for Stripe tells of them.

use domain::outcome::Decision;
use harness::{
    stripe::{ApiVersion, Event, Invoice},
    stripe_api::{Options, Payment, StandIn},
    test_servers::TestBroker,
};
use serde_json::json;

use crate::support::{
    Lab,
    operator::Operator,
    refunds::{note, of_a, paid, refund},
    shop::app_session,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_reads_what_was_given_back_and_why_a_draft_is_not_final() {
    let (lab, broker) = (Lab::new().await, TestBroker::new("refunds"));
    let operator = Operator::new(lab.worker_url(), &broker);
    lab.take(&paid(ApiVersion::NEWEST)).await;
    lab.take(&[
        refund("evt_ch", "ch_1", "pi_1", 1200),
        note("evt_cn", "cn_1", "in_1", 500),
    ])
    .await;
    let mut draft = Invoice {
        id: "in_2".into(),
        status: "draft".into(),
        booking: Some("2".into()),
        ..Invoice::default()
    }
    .value();
    draft["last_finalization_error"] = json!({
        "code": "customer_tax_location_invalid", "type": "invalid_request_error",
        "message": "Sample street is nowhere", "doc_url": "https://stripe.com/docs",
    });
    draft["automatic_tax"]["status"] = json!("requires_location_inputs");
    let failed = Event::new("evt_f", "invoice.finalization_failed", draft);
    assert_eq!(lab.take_one(&of_a(failed)).await, Decision::Applied);

    for line in [
        "invoices show in_1",
        "events show evt_ch",
        "events show evt_cn",
        "events show evt_in",
    ] {
        let card = operator.run(line).await.well().out;
        for part in ["in_1", "12 eur of 45 eur", "5 eur of 45 eur"] {
            assert!(card.contains(part), "{line}: {card}");
        }
    }
    for line in ["invoices show in_2", "events show evt_f"] {
        let card = operator.run(line).await.well().out;
        for part in [
            "cannot be finalised",
            "guest's address",
            "location is missing",
        ] {
            assert!(card.contains(part), "{line}: {card}");
        }
        assert!(!card.contains("Sample street"), "{card}");
    }
    let json = operator
        .run("invoices show in_2 --json")
        .await
        .well()
        .objects();
    assert_eq!(
        json[0]["finalization_error"]["code"],
        "customer_tax_location_invalid"
    );
    assert_eq!(json[0]["automatic_tax_status"], "requires_location_inputs");
    for (line, ids) in [
        ("invoices list", vec!["in_1", "in_2"]),
        ("invoices list --given-back", vec!["in_1"]),
        ("invoices list --not-final", vec!["in_2"]),
        ("invoices list --account acct_b", vec![]),
        ("invoices list --after in_1", vec!["in_2"]),
    ] {
        let listed = operator
            .run(&format!("{line} --json"))
            .await
            .well()
            .objects();
        let listed: Vec<&str> = listed
            .iter()
            .map(|one| one["invoice"].as_str().unwrap())
            .collect();
        assert_eq!(listed, ids, "{line}");
    }
    let list = operator.run("invoices list").await.well().out;
    assert!(
        list.contains("12 eur") && list.contains("NOT FINAL"),
        "{list}"
    );
    assert_eq!(operator.run("invoices show in_none").await.code, 1);

    // Erasing the account leaves nothing of it.
    operator.run("forget --account acct_a --yes").await.well();
    let left = "SELECT id FROM stripe.charge UNION ALL SELECT id FROM stripe.credit_note";
    assert_eq!(lab.rows(left).await, Vec::<String>::new());
}

/// A guest has paid through a session of this account; gives its id.
async fn sell(api: &StandIn, account: &str, booking: i32) -> String {
    let id = app_session(api, account, booking).await;
    api.pay(&id, Payment::Card).unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stripe_tells_of_refunds_and_notes_adds_up_shuffled_and_twice() {
    let api = StandIn::start(Options::default()).await.unwrap();
    let account = api.enabled_account("ES", &json!({ "hostId": "host-1" }));
    let session = sell(&api, &account, 1).await;
    let invoice = api.objects(&account, "invoice")[0]["id"].clone();
    let invoice = invoice.as_str().unwrap().to_owned();
    // All within one second or two: the order of the events' ids says nothing.
    for amount in [1000, 200, 30] {
        api.refund(&session, Some(amount)).unwrap();
    }
    api.credit(&invoice, 500).unwrap();
    let void = api.credit(&invoice, 70).unwrap();
    api.void_credit_note(void["id"].as_str().unwrap()).unwrap();
    api.finalization_fails(&account, Some("customer_tax_location_invalid"));
    sell(&api, &account, 2).await;
    let bodies: Vec<Vec<u8>> = api
        .take_events()
        .iter()
        .map(|event| event.bytes())
        .collect();

    let lab = Lab::new().await;
    for seed in 0..4 {
        lab.wipe().await;
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut twice: Vec<Vec<u8>> = bodies.iter().chain(&bodies).cloned().collect();
        rng.shuffle(&mut twice);
        for batch in twice.chunks(1 + rng.usize(..9)) {
            lab.take_bytes(batch).await;
        }
        let given_back = lab.given_back().await;
        assert!(
            given_back.contains(&format!("{invoice} 1230 500")),
            "{given_back:?}"
        );
        let shown =
            lab.rows(r#"SELECT concat_ws(' ', "bookingId", "status") FROM "Invoice" ORDER BY 1"#);
        assert_eq!(shown.await, ["1 PAID", "2 DRAFT"]);
        let failed = "SELECT concat_ws(' ', finalization_error_type, finalization_error_code, \
            automatic_tax_status) FROM stripe.invoice WHERE finalization_error_type IS NOT NULL";
        assert_eq!(
            lab.rows(failed).await,
            ["invalid_request_error customer_tax_location_invalid requires_location_inputs"]
        );
    }
}
