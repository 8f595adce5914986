//! The NestJS app that asks and hears, and where it and the worker reach the broker.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::{
    broker_rights,
    nest::{Heard, NestApp, NestProject},
    random,
    servers::Servers,
};
use serde_json::Value;
use tokio::{task::JoinHandle, time::timeout};
use url::Url;

use super::report;

const MAIN_APP: &str = include_str!("../../../../../docs/MAIN_APP.md");
/// The virtual host that only commands use.
const COMMANDS: &str = "commands";
/// Bound for the app to start, to be answered and to hear.
const BOUND: Duration = Duration::from_secs(60);

/// What the app asks: a method of a service of the document's, and the command that it sends.
#[derive(Clone, Copy)]
pub(super) struct Method {
    service: &'static str,
    name: &'static str,
    command: &'static str,
}

const fn method(service: &'static str, name: &'static str, command: &'static str) -> Method {
    Method {
        service,
        name,
        command,
    }
}

pub(super) const ONBOARD: Method = method("hosts", "onboard", "host.onboard");
pub(super) const STATUS: Method = method("hosts", "status", "host.status");
pub(super) const CHECKOUT: Method = method("bookings", "checkout", "booking.checkout");
pub(super) const INVOICE: Method = method("bookings", "invoice", "booking.invoice");
pub(super) const INVOICES: Method = method("bookings", "invoicesOf", "host.invoices");

/// Where the worker and the app reach the broker.
pub(super) struct Addresses {
    /// `COMMANDS_AMQP_URL` of the worker.
    pub(super) worker: String,
    commands: String,
    news: String,
    /// Whether the app has users of its own.
    are_of_users: bool,
}

impl Addresses {
    /// With the virtual host and the users of the document, where the broker is private. One that
    /// is given is used as its address says.
    pub(super) async fn make(servers: &Servers, prefix: &str) -> Result<Self> {
        let url = servers.amqp_url();
        let Some(node) = &servers.rabbitmq else {
            return Ok(Self {
                worker: url.clone(),
                commands: url.clone(),
                news: url,
                are_of_users: false,
            });
        };
        let url = Url::parse(&url)?;
        let password = random::hex(16);
        let of_user = |user: &str, virtual_host: &str| {
            let mut url = url.clone();
            url.set_path(virtual_host);
            let done = url.set_username(user);
            done.and_then(|()| url.set_password(Some(&password)))
                .map_err(|()| anyhow::anyhow!("the broker's address takes no user"))?;
            anyhow::Ok(url.to_string())
        };
        node.ctl(&["add_vhost", COMMANDS]).await?;
        let all = ["set_permissions", "-p", COMMANDS, url.username()];
        let all = [&all[..], &[".*"; 3]].concat();
        let of_document =
            |heading: &str| broker_rights::commands(MAIN_APP, heading, prefix, &password);
        let app = of_document("### The app's user at the broker");
        let news = of_document("### The app's user for news");
        // The third command of each is for a client that is not NestJS's.
        tokio::try_join!(
            async { node.ctl(&all).await },
            broker_rights::run(node, &app[..2]),
            broker_rights::run(node, &news[..2]),
        )?;
        let mut worker = url.clone();
        worker.set_path(COMMANDS);
        Ok(Self {
            worker: worker.to_string(),
            commands: of_user("app", COMMANDS)?,
            news: of_user("app_news", url.path())?,
            are_of_users: true,
        })
    }
}

/// The app while it is made: npm installs its packages, and its code is compiled.
pub(super) struct Making(JoinHandle<Result<&'static NestProject>>);

impl Making {
    /// Begins it. It goes on meanwhile.
    pub(super) fn begin() -> Self {
        Self(tokio::spawn(NestProject::get()))
    }

    /// Starts the app when it is made.
    pub(super) async fn start(self, addresses: &Addresses, prefix: &str) -> Result<App> {
        report::step(
            "Waiting for the NestJS app: npm installs its packages once, then it is compiled",
        );
        let project = self.0.await?;
        let project = project.context("the NestJS app of this part cannot be made")?;
        report::step(match addresses.are_of_users {
            true => "Starting it as the users app and app_news, with no more rights than they need",
            false => "Starting it as the user that AMQP_URL names",
        });
        let variables = [
            ("AMQP_URL", addresses.commands.as_str()),
            ("NEWS_AMQP_URL", addresses.news.as_str()),
            ("AMQP_PREFIX", prefix),
            ("APP_URL", "https://app.example.com"),
            ("NEWS", "yes"),
        ];
        let started = timeout(BOUND, project.start(&variables)).await;
        let app = started.context("it does not start")??;
        Ok(App(app))
    }
}

/// The app.
pub(super) struct App(NestApp);

impl App {
    /// Asks, and prints what the answer says. Gives the answer.
    pub(super) async fn ask(&mut self, method: Method, argument: &Value) -> Result<Value> {
        let answer = self.answer(method, argument).await?;
        report::command(method.command, &shortly(&answer));
        Ok(answer)
    }

    /// Asks twice, and has to get the same answer. Gives it.
    pub(super) async fn ask_twice(&mut self, method: Method, argument: &Value) -> Result<Value> {
        let answer = self.ask(method, argument).await?;
        let again = self.answer(method, argument).await?;
        let command = method.command;
        ensure!(
            answer == again,
            "{command} has two answers: {answer} and {again}"
        );
        report::command(command, "asked again: the same");
        Ok(answer)
    }

    async fn answer(&mut self, method: Method, argument: &Value) -> Result<Value> {
        let answer = self.call(method, argument).await?;
        answer.map_err(|error| anyhow::anyhow!("{} was answered with {error}", method.command))
    }

    /// Asks for what has to be refused with this code.
    pub(super) async fn refused(
        &mut self,
        method: Method,
        argument: &Value,
        code: &str,
    ) -> Result<()> {
        let answer = self.call(method, argument).await?;
        let command = method.command;
        let is_refused = answer.as_ref().is_err_and(|error| error["code"] == code);
        ensure!(is_refused, "{command} was answered with {answer:?}");
        report::command(command, &format!("error {code}"));
        Ok(())
    }

    async fn call(&mut self, method: Method, argument: &Value) -> Result<Result<Value, Value>> {
        let arguments = [argument.clone()];
        let called = self.0.call(method.service, method.name, &arguments);
        let answer = timeout(BOUND, called).await;
        answer.with_context(|| format!("{} was not answered", method.command))?
    }

    /// The next news that its handlers hear, or have heard.
    pub(super) async fn hear(&mut self) -> Result<Heard> {
        let heard = timeout(BOUND, self.0.hear()).await;
        heard.context("the app's handlers do not hear all news")?
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.0.stop().await
    }
}

/// What an answer says, in a line.
fn shortly(response: &Value) -> String {
    let fields = ["status", "stripeAccountId", "sessionId", "url", "invoice"];
    let said = fields.iter().filter_map(|name| match &response[*name] {
        Value::String(text) => Some(format!("{name} {text}")),
        Value::Object(object) => object["status"]
            .as_str()
            .map(|text| format!("{name} {text}")),
        _ => None,
    });
    let words = response["words"].as_array().into_iter().flatten();
    let words: Vec<&str> = words.filter_map(Value::as_str).collect();
    let invoices = response["invoices"].as_array().into_iter().flatten();
    let invoices = invoices.filter_map(|invoice| {
        let id = invoice["stripeInvoiceId"].as_str()?;
        Some(format!("{id} {}", invoice["status"].as_str()?))
    });
    let said: Vec<String> = said.chain(invoices).collect();
    [said.join(", "), words.join(" ")]
        .join("  ")
        .trim()
        .to_owned()
}
