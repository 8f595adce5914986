//! `stack up`: servers and services in the background.

use std::{collections::BTreeMap, ffi::OsString, fmt::Write as _, path::Path};

use anyhow::{Context as _, Result};
use harness::{
    checkout,
    process::Identity,
    random,
    servers::{PostgresOptions, RabbitMqOptions, Servers},
    services::{self, Service, ServiceOptions},
};
use sha2::{Digest as _, Sha256};

use crate::{
    settings::{self, Settings},
    table,
};

/// How the names of the variables begin that a service may read from the
/// caller's environment: a change of one starts it anew.
const READ_BY_SERVICES: [&str; 7] = [
    "STRIPE_",
    "BOOKING_",
    "KEEP_",
    "AMQP_",
    "DATABASE_",
    "RUST_",
    "LOG_",
];

/// Whether something had to be started.
#[derive(Clone, Copy)]
enum Found {
    Running,
    Started,
    Given,
}

impl Found {
    fn text(self) -> &'static str {
        match self {
            Self::Running => "was up already",
            Self::Started => "started",
            Self::Given => "given, left alone",
        }
    }
}

/// Starts what does not run, waits until all is ready, and writes `.dev/env`.
pub(crate) async fn up() -> Result<()> {
    let _lock = settings::lock()?;
    let folder = settings::folder()?;
    settings::keep_program(&folder)?;
    let (servers, mut rows) = start_servers(&folder).await?;
    let mut settings = Settings::read_or_make(&folder)?;
    settings.leave_taken_ports(&folder)?;
    // Written before anything listens on them: what is killed from here on is
    // found again.
    settings.write(&folder)?;
    let variables = variables(&servers);
    let secrets = set(SECRETS).unwrap_or_else(|| settings.secret.clone());
    let (ingest, worker) = {
        let ingest =
            ServiceOptions::ingest_on(&folder, settings.ingest_port, settings.ingest_admin_port);
        let worker = ServiceOptions::worker_on(&folder, settings.worker_admin_port);
        let ingest = with(ingest, &variables).env(SECRETS, secrets.clone());
        (ingest, with(worker, &variables))
    };
    let (ingest, worker) = tokio::join!(
        keep_or_start(ingest, &settings),
        keep_or_start(worker, &settings)
    );
    let hint = "`make down` stops what is up";
    let ((mut ingest, ingest_found), (mut worker, worker_found)) =
        (ingest.context(hint)?, worker.context(hint)?);
    for service in [&mut ingest, &mut worker] {
        service.leave_running();
        settings.started_with.insert(
            service.options().name.clone(),
            fingerprint(service.options()),
        );
    }
    settings.write(&folder)?;
    let mut exports = variables;
    exports.insert(SECRETS.to_owned(), secrets);
    exports.insert("INGEST_URL".to_owned(), ingest.url());
    exports.insert("INGEST_ADMIN_URL".to_owned(), ingest.admin_url());
    exports.insert("WORKER_ADMIN_URL".to_owned(), worker.admin_url());
    // Where a service's own health check asks.
    for service in ["INGEST", "WORKER"] {
        let url = exports.get(&format!("{service}_ADMIN_URL"));
        let listen = url.and_then(|url| url.strip_prefix("http://"));
        if let Some(listen) = listen.map(str::to_owned) {
            exports.insert(format!("{service}_ADMIN_LISTEN"), listen);
        }
    }
    let env_file = settings::env_file()?;
    checkout::write_private(&env_file, &shell_lines(&exports))?;
    rows.push([
        "ingest: webhooks".to_owned(),
        format!("{}/webhooks/stripe", ingest.url()),
        ingest_found.text().to_owned(),
    ]);
    rows.push([
        "ingest: admin".to_owned(),
        ingest.admin_url(),
        String::new(),
    ]);
    rows.push([
        "worker: admin".to_owned(),
        worker.admin_url(),
        worker_found.text().to_owned(),
    ]);
    let mut table = table::with_headings(["", "address", ""]);
    table.add_rows(rows);
    println!("{table}");
    println!("Logs are in {}.", folder.display());
    println!(
        "Addresses and secrets for your shell: . {}",
        env_file.display()
    );
    Ok(())
}

/// The servers, told to stay, and a line of the table for each.
async fn start_servers(folder: &Path) -> Result<(Servers, Vec<[String; 3]>)> {
    let given = settings::given(folder);
    let ran = |name: &str| {
        let record = folder.join(name).join("process.json");
        Identity::read(&record).is_some_and(|identity| identity.is_alive())
    };
    let (postgres_ran, rabbitmq_ran) = (ran("postgres"), ran("rabbitmq"));
    let found = |is_given: bool, ran: bool| match (is_given, ran) {
        (true, _) => Found::Given,
        (false, true) => Found::Running,
        (false, false) => Found::Started,
    };
    let postgres_found = found(given.database_url.is_some(), postgres_ran);
    let rabbitmq_found = found(given.amqp_url.is_some(), rabbitmq_ran);
    let servers = Servers::start(
        folder,
        given,
        PostgresOptions::default(),
        RabbitMqOptions::default(),
    )
    .await?;
    servers.leave_running();
    let rows = vec![
        [
            "PostgreSQL".to_owned(),
            without_password(&servers.database_url()),
            postgres_found.text().to_owned(),
        ],
        [
            "RabbitMQ".to_owned(),
            without_password(&servers.amqp_url()),
            rabbitmq_found.text().to_owned(),
        ],
    ];
    Ok((servers, rows))
}

/// What ingest alone is told.
const SECRETS: &str = "STRIPE_WEBHOOK_SECRETS";

/// A variable of whoever calls.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What both services are told, beside the addresses that they listen on.
fn variables(servers: &Servers) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("DATABASE_URL".to_owned(), servers.database_url()),
        ("AMQP_URL".to_owned(), servers.amqp_url()),
        (
            "STRIPE_MODE".to_owned(),
            set("STRIPE_MODE").unwrap_or_else(|| "test".to_owned()),
        ),
    ])
}

fn with(options: ServiceOptions, variables: &BTreeMap<String, String>) -> ServiceOptions {
    let options = ServiceOptions {
        inherit: true,
        ..options
    };
    variables
        .iter()
        .fold(options, |options, (name, value)| options.env(name, value))
}

/// Leaves a service that runs as it would be started now; starts it otherwise.
async fn keep_or_start(options: ServiceOptions, settings: &Settings) -> Result<(Service, Found)> {
    let same = settings.started_with.get(&options.name) == Some(&fingerprint(&options));
    if let Some(mut service) = Service::find(options.clone()) {
        if same && runs_current_binary(&service) {
            service.leave_running();
            service.until_ready(services::READY_BOUND).await?;
            return Ok((service, Found::Running));
        }
        service.terminate().await?;
    }
    Ok((Service::start(options).await?, Found::Started))
}

/// Whether the process runs the file that is there now, not one that a build
/// has replaced.
fn runs_current_binary(service: &Service) -> bool {
    let running = std::fs::read_link(format!("/proc/{}/exe", service.process().pid()));
    let current = service
        .options()
        .find_binary()
        .and_then(|path| Ok(path.canonicalize()?));
    matches!((running, current), (Ok(running), Ok(current)) if running == current)
}

/// A hash of all that changes what a service does.
fn fingerprint(options: &ServiceOptions) -> String {
    let mut hash = Sha256::new();
    let mut add = |name: &str, value: &OsString| {
        hash.update(name);
        hash.update([0]);
        hash.update(value.as_encoded_bytes());
        hash.update([0]);
    };
    let mut inherited: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    inherited.sort();
    for (name, value) in &inherited {
        let name = name.to_string_lossy();
        let is_read = READ_BY_SERVICES
            .iter()
            .any(|prefix| name.starts_with(prefix));
        let is_set_here = options.environment.iter().any(|(other, _)| *other == name);
        if is_read && !is_set_here {
            add(&name, value);
        }
    }
    for (name, value) in &options.environment {
        add(name, value);
    }
    random::to_hex(&hash.finalize())
}

/// `export NAME='value'` lines, which a shell takes literally.
fn shell_lines(variables: &BTreeMap<String, String>) -> String {
    variables
        .iter()
        .fold(String::new(), |mut text, (name, value)| {
            let quoted = value.replace('\'', r"'\''");
            let _ = writeln!(text, "export {name}='{quoted}'");
            text
        })
}

fn without_password(url: &str) -> String {
    let Ok(mut url) = url::Url::parse(url) else {
        return "(as given)".to_owned();
    };
    if url.password().is_some() {
        let _ = url.set_password(Some("..."));
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, process::Command};

    use super::shell_lines;

    #[test]
    fn a_shell_reads_back_what_was_written() {
        let value = "a=whsec_'$(touch x)' \"`b`\\\n!";
        let lines = shell_lines(&BTreeMap::from([("NAME".to_owned(), value.to_owned())]));
        let script = format!("{lines}printf %s \"$NAME\"");
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
    }
}
