//! The commands on a database of their own, with a stand-in for Stripe.

use std::time::Duration;

use event::Mode;
use harness::stripe_api::{Options, Recorded, StandIn};
use serde_json::{Value, json};
use store::{Database, outbox::Outbox};
use worker::{
    commands::{
        command::Name, consumer::CONNECTIONS, error::CommandError, service::CommandService,
        telling::Telling,
    },
    config::commands::{CommandSettings, Origins},
    metrics::stripe::ApiMetrics,
    pipeline::delivery::Decoder,
    stripe::{client::Client, config::ApiConfig},
};

use super::{Lab, rules};

/// The commands, their database and Stripe.
pub struct Desk {
    pub lab: Lab,
    pub api: StandIn,
    pub service: CommandService,
}

impl Desk {
    pub async fn new() -> Self {
        Self::with(Options::default(), |_| {}).await
    }

    /// With a stand-in and settings of one's own.
    pub async fn with(options: Options, set: impl FnOnce(&mut CommandSettings)) -> Self {
        Self::on(Lab::new().await, options, set).await
    }

    /// On a database that is there already.
    pub async fn on(lab: Lab, options: Options, set: impl FnOnce(&mut CommandSettings)) -> Self {
        let api = StandIn::start(options).await.unwrap();
        let mut settings = settings();
        set(&mut settings);
        let pool = Database::parse(lab.worker_url())
            .unwrap()
            .pool_of(CONNECTIONS);
        let client = client(&api, "sk_test_standin", Some(pool.clone()));
        let service = CommandService {
            pool: pool.clone(),
            client: Some(client),
            settings,
            owner_query: lab.executor.owner_query.clone(),
            telling: Telling::start(lab.executor.clone(), pool.clone(), Outbox::Off),
            decoder: Decoder {
                rules: rules(),
                decode: domain::event::decode,
            },
            is_redelivered: false,
        };
        Self { lab, api, service }
    }

    /// Another worker of the same deployment.
    pub fn other_worker(&self) -> CommandService {
        let executor = self.lab.executor.clone();
        let pool = Database::parse(self.lab.worker_url())
            .unwrap()
            .pool_of(CONNECTIONS);
        CommandService {
            client: Some(client(&self.api, "sk_test_standin", Some(pool.clone()))),
            telling: Telling::start(executor, pool.clone(), Outbox::Off),
            pool,
            ..self.service.clone()
        }
    }

    /// Does a command.
    pub async fn run(&self, name: Name, data: Value) -> Result<Value, CommandError> {
        Box::pin(self.service.run(name, data)).await
    }

    /// Onboards a host in the usual way.
    pub async fn onboard(&self, host: &str) -> Result<Value, CommandError> {
        self.run(Name::HostOnboard, onboard(host)).await
    }

    /// An operator notes an account as the host's.
    pub async fn adopt(&self, host: &str, account: &str) {
        let conn = self.service.pool.get().await.unwrap();
        let key = worker::commands::host::known::key(host);
        let adopted = store::command::adopt(&conn, &key, account, None).await;
        assert!(adopted.unwrap());
    }

    /// So many minutes ago the attempts began that are noted.
    pub async fn begun_before(&self, minutes: i32) {
        let earlier =
            "UPDATE stripe.command SET attempted_at = attempted_at - make_interval(mins => $1)";
        let client = &self.lab.client;
        client.execute(earlier, &[&minutes]).await.unwrap();
    }

    /// The worker takes all events that Stripe has made since.
    pub async fn take_events(&self) {
        let events: Vec<Vec<u8>> = self
            .api
            .take_events()
            .iter()
            .map(harness::stripe_api::QueuedEvent::bytes)
            .collect();
        self.lab.take_bytes(&events).await;
    }

    /// The requests to paths that begin so.
    pub fn requests(&self, path: &str) -> Vec<Recorded> {
        let requests = self.api.requests().into_iter();
        requests.filter(|one| one.path.starts_with(path)).collect()
    }

    /// The rows of `"HostOnboarding"`, shortly.
    pub async fn hosts(&self) -> Vec<String> {
        self.lab
            .rows(
                r#"SELECT concat_ws(' ', "hostId", "status", "canSell") FROM "HostOnboarding" ORDER BY 1"#,
            )
            .await
    }

    /// What is noted of commands, shortly.
    pub async fn records(&self) -> Vec<String> {
        self.lab
            .rows(
                "SELECT concat_ws(' ', key, attempt, state, error, request IS NULL) \
                 FROM stripe.command ORDER BY key",
            )
            .await
    }
}

/// A client of the stand-in that hardly pauses.
pub fn client(api: &StandIn, key: &str, pool: Option<store::Pool>) -> Client {
    patient(api, key, pool, Duration::from_secs(10))
}

/// A client that takes an answer for lost after a second.
pub fn impatient(api: &StandIn) -> Client {
    patient(api, "sk_test_standin", None, Duration::from_secs(1))
}

fn patient(api: &StandIn, key: &str, pool: Option<store::Pool>, timeout: Duration) -> Client {
    let config = ApiConfig {
        pause: Duration::from_millis(2),
        timeout,
        ..ApiConfig::new(key.into(), api.base_url().into(), Mode::Test)
    };
    Client::new(config, ApiMetrics::default(), pool).unwrap()
}

/// The settings of a deployment whose app is at one address.
pub fn settings() -> CommandSettings {
    CommandSettings {
        origins: Origins::parse("https://app.example.com").unwrap(),
        ..CommandSettings::default()
    }
}

/// The usual command for a host.
pub fn onboard(host: &str) -> Value {
    json!({
        "hostId": host, "email": "anna@example.org", "country": "ES",
        "refreshUrl": "https://app.example.com/again", "returnUrl": "https://app.example.com/done",
    })
}

/// The account's id in an answer.
pub fn account(answer: &Value) -> String {
    answer["stripeAccountId"].as_str().unwrap().to_owned()
}

/// Takes away by what the account or the session that is asked for can be known.
pub fn take_mark(params: &mut Value) -> String {
    let metadata = params["metadata"].as_object_mut().unwrap();
    let mark = metadata.remove("commandAttempt").unwrap();
    let mark = mark.as_str().unwrap().to_owned();
    assert!(mark.len() == 32, "{mark}");
    mark
}
