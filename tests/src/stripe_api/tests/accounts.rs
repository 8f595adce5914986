//! Accounts, their links and their events.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::json;

use super::{EXPRESS, get, json_of, post, refusal, send, start, v2_account};
use crate::stripe_api::{Options, RestrictedKey, StandIn};

#[tokio::test]
async fn both_versions_show_the_same_account() {
    let api = start().await;
    let (status, first) = post(&api, "/v1/accounts", EXPRESS).await;
    assert_eq!(status, 200, "{first}");
    let (status, second) = post(&api, "/v2/core/accounts", &v2_account().to_string()).await;
    assert_eq!(status, 200, "{second}");
    let ids = [
        first["id"].as_str().unwrap(),
        second["id"].as_str().unwrap(),
    ];
    for (id, host) in ids.into_iter().zip(["host-1", "host-2"]) {
        let (_, v1) = get(&api, &format!("/v1/accounts/{id}")).await;
        let query = "include[0]=configuration.merchant&include[1]=requirements";
        let (_, v2) = get(&api, &format!("/v2/core/accounts/{id}?{query}")).await;
        assert_eq!(v1["metadata"], json!({ "hostId": host }));
        assert_eq!(v2["metadata"], v1["metadata"]);
        assert_eq!(
            v1["capabilities"],
            json!({ "card_payments": "inactive", "transfers": "inactive" })
        );
        let status = &v2["configuration"]["merchant"]["capabilities"]["card_payments"]["status"];
        assert_eq!(status, "restricted");
        assert_eq!(
            v2["requirements"]["summary"]["minimum_deadline"]["status"],
            "past_due"
        );
        assert_eq!(v2.get("identity"), None, "it was not asked for");
    }
}

#[tokio::test]
async fn what_stripe_refuses_is_refused() {
    let api = start().await;
    let controller =
        "controller[stripe_dashboard][type]=express&controller[losses][payments]=stripe";
    for (body, code, param) in [
        (controller, "", "controller[losses][payments]"),
        (
            "type=express&controller[fees][payer]=account",
            "",
            "controller",
        ),
        ("type=express&country=ZZ", "country_unsupported", "country"),
        ("type=express&color=red", "parameter_unknown", "color"),
    ] {
        let answer = post(&api, "/v1/accounts", body).await;
        assert_eq!(refusal(&answer), (400, code, param));
    }
    let mut express = v2_account();
    express["defaults"]["responsibilities"]["losses_collector"] = "stripe".into();
    let mut nowhere = v2_account();
    nowhere["identity"]["country"] = "ZZ".into();
    for (body, param) in [
        (express, "defaults.responsibilities.losses_collector"),
        (nowhere, "identity.country"),
    ] {
        let answer = post(&api, "/v2/core/accounts", &body.to_string()).await;
        assert_eq!(refusal(&answer), (400, "invalid_fields", param));
        assert_eq!(answer.1["error"].get("type"), None);
    }
    assert!(api.accounts().is_empty());
}

#[tokio::test]
async fn a_platform_without_access_gets_no_account_of_the_second_version() {
    let options = Options {
        v2_enabled: false,
        ..Options::default()
    };
    let api = StandIn::start(options).await.unwrap();
    let answer = post(&api, "/v2/core/accounts", &v2_account().to_string()).await;
    assert_eq!(refusal(&answer), (400, "accounts_v2_access_blocked", ""));
    assert_eq!(post(&api, "/v1/accounts", EXPRESS).await.0, 200);
}

#[tokio::test]
async fn keys_accounts_and_content_types_are_checked() {
    let key = RestrictedKey::new("rk_test_1", &["accounts_read"]);
    let options = Options {
        restricted_keys: vec![key],
        ..Options::default()
    };
    let api = StandIn::start(options).await.unwrap();
    let restricted = ("authorization", "Bearer rk_test_1");
    for (method, path, header, expected) in [
        (
            Method::GET,
            "/v1/accounts",
            ("authorization", "Bearer sk_test_other"),
            401,
        ),
        (Method::GET, "/v1/accounts", restricted, 200),
        (Method::POST, "/v1/accounts", restricted, 403),
        (Method::GET, "/v1/nowhere", ("x-none", ""), 404),
        (
            Method::GET,
            "/v1/tax/settings",
            ("stripe-account", "acct_other"),
            403,
        ),
        (
            Method::POST,
            "/v1/accounts",
            ("content-type", "application/json"),
            400,
        ),
        (
            Method::POST,
            "/v2/core/accounts",
            ("content-type", "text/plain"),
            400,
        ),
        (
            Method::GET,
            "/v2/core/accounts",
            ("stripe-version", ""),
            400,
        ),
        (
            Method::GET,
            "/v1/accounts",
            ("stripe-version", "newest"),
            400,
        ),
    ] {
        let answer = send(&api, method, path, &[header], "").await.unwrap();
        assert_eq!(answer.status.as_u16(), expected, "{path} {header:?}");
        assert!(
            answer.headers["request-id"]
                .to_str()
                .unwrap()
                .starts_with("req_")
        );
        assert!(answer.headers.contains_key("stripe-version"));
        if header.1 == "acct_other" {
            assert_eq!(json_of(&answer)["error"]["code"], "account_invalid");
        }
    }
}

#[tokio::test]
async fn links_are_made_for_accounts_that_may_have_them() {
    let api = start().await;
    let id = post(&api, "/v1/accounts", EXPRESS).await.1["id"].clone();
    let id = id.as_str().unwrap();
    let urls = "refresh_url=https%3A%2F%2Fa.example%2Fr&return_url=https%3A%2F%2Fa.example%2Fb";
    let v1 = format!("account={id}&type=account_onboarding&{urls}");
    let (status, link) = post(&api, "/v1/account_links", &v1).await;
    assert_eq!(
        (status, link["object"].as_str()),
        (200, Some("account_link"))
    );
    let case = json!({ "refresh_url": "https://a.example/r", "return_url": "https://a.example/b" });
    let v2 = json!({ "account": id, "use_case": { "type": "account_onboarding", "account_onboarding": case } });
    let (status, link) = post(&api, "/v2/core/account_links", &v2.to_string()).await;
    assert_eq!((status, &link["account"]), (200, &json!(id)));
    let session = format!("account={id}&components[account_onboarding][enabled]=true");
    let (_, session) = post(&api, "/v1/account_sessions", &session).await;
    assert_eq!(session["components"]["account_onboarding"]["enabled"], true);
    assert_eq!(session["components"]["payments"]["enabled"], false);

    let login = format!("/v1/accounts/{id}/login_links");
    assert_eq!(post(&api, &login, "").await.0, 400, "it has not onboarded");
    api.finish_onboarding(id);
    assert_eq!(post(&api, &login, "").await.0, 200);
    let standard = post(&api, "/v1/accounts", "type=standard&country=ES")
        .await
        .1;
    let standard = standard["id"].as_str().unwrap();
    api.finish_onboarding(standard);
    assert_eq!(
        post(&api, &format!("/v1/accounts/{standard}/login_links"), "")
            .await
            .0,
        400
    );

    api.reject(id);
    assert_eq!(post(&api, "/v1/account_links", &v1).await.0, 400);
    assert_eq!(
        post(&api, "/v2/core/account_links", &v2.to_string())
            .await
            .0,
        400
    );
    api.deauthorize(id);
    assert_eq!(get(&api, &format!("/v1/accounts/{id}")).await.0, 403);
}

#[tokio::test]
async fn plain_redirects_are_refused_in_live_mode() {
    let options = Options {
        livemode: true,
        ..Options::default()
    };
    let api = StandIn::start(options).await.unwrap();
    let id = post(&api, "/v1/accounts", EXPRESS).await.1["id"].clone();
    let id = id.as_str().unwrap();
    let body = format!(
        "account={id}&type=account_onboarding&refresh_url=http://a.example&return_url=https://a.example"
    );
    assert_eq!(
        refusal(&post(&api, "/v1/account_links", &body).await),
        (400, "", "refresh_url")
    );
}

#[tokio::test]
async fn a_change_makes_a_snapshot_event_and_thin_ones() {
    let api = start().await;
    let id = post(&api, "/v2/core/accounts", &v2_account().to_string())
        .await
        .1["id"]
        .clone();
    let id = id.as_str().unwrap();
    assert_eq!(api.take_events().len(), 1, "v2.core.account.created");
    api.finish_onboarding(id);
    let events = api.take_events();
    let snapshot = events.iter().find(|event| !event.thin).unwrap();
    assert_eq!(snapshot.kind, "account.updated");
    assert_eq!(snapshot.value()["account"], id);
    let previous = &snapshot.value()["data"]["previous_attributes"];
    assert_eq!(previous["charges_enabled"], false);
    assert_eq!(previous["capabilities"]["card_payments"], "inactive");
    assert_eq!(previous.get("metadata"), None);
    let thin: BTreeSet<&str> = events
        .iter()
        .filter(|one| one.thin)
        .map(|one| &*one.kind)
        .collect();
    let expected = BTreeSet::from([
        "v2.core.account[configuration.merchant].capability_status_updated",
        "v2.core.account[configuration.recipient].capability_status_updated",
        "v2.core.account[identity].updated",
        "v2.core.account[requirements].updated",
    ]);
    assert_eq!(thin, expected);
    let one = events.iter().find(|event| event.thin).unwrap();
    assert_eq!(one.value()["related_object"]["id"], id);
    assert_eq!(one.value().get("context"), None);
    assert_eq!(one.value().get("data"), None);

    api.require(id, &["individual.verification.document"]);
    let (_, account) = get(
        &api,
        &format!("/v2/core/accounts/{id}?include=requirements"),
    )
    .await;
    let entry = &account["requirements"]["entries"][0];
    assert_eq!(entry["description"], "individual.verification.document");
    assert_eq!(entry["minimum_deadline"]["status"], "currently_due");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let api = start().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(
            post(&api, "/v1/accounts", EXPRESS).await.1["id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    made.reverse();
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let (_, page) = get(&api, &format!("/v1/accounts?limit=2{after}")).await;
        let ids = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_str().unwrap());
        seen.extend(ids.map(str::to_owned));
        if page["has_more"] == false {
            break;
        }
        after = format!("&starting_after={}", seen.last().unwrap());
    }
    assert_eq!(seen, made);
    let mut seen = 0;
    let mut path = "/v2/core/accounts?limit=3".to_owned();
    loop {
        let (_, page) = get(&api, &path).await;
        seen += page["data"].as_array().unwrap().len();
        let Some(next) = page["next_page_url"].as_str() else {
            break;
        };
        path = next.to_owned();
    }
    assert_eq!(seen, 5);
    let answer = get(&api, "/v1/accounts?starting_after=acct_none").await;
    assert_eq!(
        refusal(&answer),
        (400, "resource_missing", "starting_after")
    );
    let future = crate::stripe::now() + 1000;
    let (_, page) = get(&api, &format!("/v1/accounts?created[gte]={future}")).await;
    assert_eq!(page["data"], json!([]));
}

#[tokio::test]
async fn tax_settings_registrations_and_ids_belong_to_an_account() {
    let api = start().await;
    let id = api.enabled_account("ES", &json!({ "hostId": "host-1" }));
    let of = [("stripe-account", id.as_str())];
    let get = async |path: &str| json_of(&send(&api, Method::GET, path, &of, "").await.unwrap());
    assert_eq!(get("/v1/tax/settings").await["status"], "pending");
    api.set_head_office(&id, Some("ES"));
    assert_eq!(get("/v1/tax/settings").await["status"], "active");
    let _ = api.register_for_tax(&id, "ES", "expired");
    assert_eq!(
        get("/v1/tax/registrations?status=active").await["data"],
        json!([])
    );
    let active = api.register_for_tax(&id, "ES", "active");
    assert_eq!(
        get("/v1/tax/registrations?status=active").await["data"][0]["id"],
        *active
    );
    let tax_id = api.add_tax_id(&id, "eu_vat", "ESX1234567X", true);
    assert_eq!(get("/v1/tax_ids").await["data"][0]["id"], *tax_id);
    let account = api.account(&id).unwrap();
    assert_eq!(
        account["settings"]["invoices"]["default_account_tax_ids"],
        json!([tax_id])
    );
}
