//! The images of the Dockerfile, started as `docker-compose.yml` would start them but for
//! the network: the services listen on loopback ports of this machine.
//!
//! `scripts/images-test.sh` builds them, and says by `IMAGES` where they are: of each
//! service its files, and what Buildah says of its configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use harness::{
    http, leaks, ports,
    private::PrivateFolder,
    process::{self, Process},
    servers::{Durability, Given, PostgresOptions, RabbitMqOptions, Servers, postgres::connect},
    stripe::{now, sign},
    wait::{self, Seen},
};
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    compose::ComposeService,
    support::{BOUND, SECRET, paid},
};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// As `stop_grace_period` says.
const END_BOUND: Duration = Duration::from_secs(45);

/// Enters an image's files and becomes a program of it: with nothing but them, `/proc`
/// and the devices that every container has, read-only, without rights and without a
/// way to get any.
const ENTER: &str = r#"
    root=$1 uid=$2 gid=$3
    shift 3
    mount --bind "$root" "$root"
    mount --rbind /proc "$root/proc"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for device in null zero full random urandom; do
        : >"$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    mount -o remount,bind,ro "$root"
    exec chroot "$root" setpriv --reuid "$uid" --regid "$gid" --clear-groups \
        --inh-caps=-all --bounding-set=-all --no-new-privs "$@"
"#;

/// An image, and the container that compose would make of it.
struct Container {
    name: &'static str,
    root: PathBuf,
    config: Value,
    environment: BTreeMap<String, String>,
}

impl Container {
    /// Reads an image; its container gets what `given` sets for compose, and then these
    /// variables.
    fn new(name: &'static str, given: &BTreeMap<&str, String>, changed: &[(&str, String)]) -> Self {
        let images = env::var_os("IMAGES").expect("IMAGES is not set: run `make images-test`");
        let images = PathBuf::from(images);
        let root = fs::canonicalize(images.join(name)).unwrap();
        let inspected = fs::read(images.join(format!("{name}.json"))).unwrap();
        let mut inspected: Value = serde_json::from_slice(&inspected).unwrap();
        let config = inspected["Docker"]["config"].take();
        let service = ComposeService::read(name);
        assert!(service.is_locked_up(), "{name}");

        // A port that is published has to be the one that the image listens on.
        let exposed = config["ExposedPorts"].as_object().unwrap().keys();
        let exposed = exposed.map(|port| port.trim_end_matches("/tcp").to_owned());
        assert_eq!(exposed.collect::<BTreeSet<String>>(), service.ports());
        let mut environment: BTreeMap<String, String> = texts(&config["Env"])
            .iter()
            .map(|text| text.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let listeners = environment.iter();
        let listeners = listeners.filter(|(name, _)| name.ends_with("_LISTEN"));
        let listened = listeners.map(|(_, address)| address.strip_prefix("0.0.0.0:").unwrap());
        let listened: BTreeSet<String> = listened.map(str::to_owned).collect();
        assert_eq!(listened, service.ports());

        // Engines set it where an image does not.
        let path = environment.entry("PATH".to_owned());
        path.or_insert_with(|| PATH.to_owned());
        environment.extend(service.environment(given).unwrap());
        for (name, value) in changed {
            environment.insert((*name).to_owned(), value.clone());
        }
        for (name, value) in &environment {
            leaks::plant_variable(name, value);
        }
        Self {
            name,
            root,
            config,
            environment,
        }
    }

    /// How a program of the image is started.
    fn enter(&self, program: &[&str]) -> std::process::Command {
        let user = self.config["User"].as_str().unwrap();
        let (uid, gid) = user.split_once(':').unwrap();
        assert_eq!((uid, gid), ("10001", "10001"));
        let mut command = process::command("unshare");
        command
            .args(["--mount", "--propagation", "private"])
            .args(["sh", "-euc", ENTER, "sh"])
            .arg(&self.root)
            .args([uid, gid])
            .args(program)
            .env_clear()
            .envs(&self.environment);
        command
    }

    fn start(&self, folder: &Path) -> Process {
        let entrypoint = texts(&self.config["Entrypoint"]);
        assert!(self.config["Cmd"].as_array().is_none_or(Vec::is_empty));
        let [record, log] = ["json", "log"].map(|end| folder.join(format!("{}.{end}", self.name)));
        let mut command = self.enter(&entrypoint);
        Process::spawn(self.name, &mut command, entrypoint[0], &record, &log).unwrap()
    }

    /// Runs the image's health check as the engine does, until the container is healthy.
    async fn until_healthy(&self, process: &mut Process) {
        let check = &self.config["Healthcheck"];
        let time = |name: &str| Duration::from_nanos(check[name].as_u64().unwrap());
        let (interval, timeout) = (time("Interval"), time("Timeout"));
        let retries = u32::try_from(check["Retries"].as_u64().unwrap()).unwrap();
        let test = texts(&check["Test"]);
        assert_eq!(test[0], "CMD");
        let bound = time("StartPeriod") + (interval + timeout) * retries;
        wait::until(format!("{} to be healthy", self.name), bound, async || {
            if let Some(why) = process.why_dead() {
                return Seen::Never(why);
            }
            let mut command = tokio::process::Command::from(self.enter(&test[1..]));
            let command = command.stdin(Stdio::null()).kill_on_drop(true);
            match tokio::time::timeout(timeout, command.output()).await {
                Ok(Ok(output)) if output.status.success() => Seen::Reached(()),
                seen => {
                    tokio::time::sleep(interval / 10).await;
                    Seen::NotYet(format!("{seen:?}"))
                }
            }
        })
        .await
        .unwrap();
    }
}

fn texts(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap().iter();
    list.map(|value| value.as_str().unwrap()).collect()
}

/// What the kernel says that a process may do.
fn check_rights(process: &Process) {
    let file = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", process.pid())).unwrap();
    let status = file("status");
    let field = |name: &str| {
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        value.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    let ids = ["10001"; 4].join("\t");
    assert_eq!([field("Uid"), field("Gid")], [ids.clone(), ids]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0".repeat(16), "{set}");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    let mounts = file("mountinfo");
    // Its place is the fifth field, and its options are the sixth.
    let root = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields[4] == "/")
        .expect("a root");
    assert!(root[5].split(',').any(|option| option == "ro"), "{root:?}");
}

/// Servers of its own, never given ones: the names on the broker have no prefix here.
async fn servers(folder: &Path) -> Servers {
    let postgres = PostgresOptions {
        durability: Durability::Fast,
        ..PostgresOptions::default()
    };
    let rabbitmq = RabbitMqOptions {
        durability: Durability::Fast,
        ..RabbitMqOptions::default()
    };
    let servers = Servers::start(folder, Given::default(), postgres, rabbitmq);
    servers.await.unwrap()
}

/// Both containers, with the four variables that compose demands and no other, and the
/// address that ingest listens on.
fn containers(servers: &Servers) -> ([Container; 2], String) {
    let unused = || "in the addresses of the servers".to_owned();
    let given: BTreeMap<&str, String> = BTreeMap::from([
        ("POSTGRES_PASSWORD", unused()),
        ("RABBITMQ_PASSWORD", unused()),
        ("STRIPE_MODE", "test".to_owned()),
        ("STRIPE_WEBHOOK_SECRETS", format!("connect={SECRET}")),
    ]);
    let amqp = ("AMQP_URL", servers.amqp_url());
    let listen = || format!("127.0.0.1:{}", ports::free().unwrap());
    let public = listen();
    let ingest = [
        amqp.clone(),
        ("INGEST_LISTEN", public.clone()),
        ("INGEST_ADMIN_LISTEN", listen()),
    ];
    let worker = [
        amqp,
        ("DATABASE_URL", servers.database_url()),
        ("WORKER_ADMIN_LISTEN", listen()),
    ];
    let containers = [
        Container::new("ingest", &given, &ingest),
        Container::new("worker", &given, &worker),
    ];
    for empty in [
        "AMQP_PREFIX",
        "RUST_LOG",
        "STRIPE_API_KEY",
        "BOOKING_OWNER_QUERY",
    ] {
        assert_eq!(containers[1].environment[empty], "");
    }
    (containers, public)
}

async fn until_row(servers: &Servers, expected: &str) {
    let client = connect(&servers.database_url()).await.unwrap();
    let query = r#"SELECT concat_ws(' ', "bookingId", "stripeInvoiceId", "status") FROM "Invoice""#;
    wait::until("the row", BOUND, async || {
        let rows = client.query(query, &[]).await.unwrap();
        let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        match rows == [expected] {
            true => Seen::Reached(()),
            false => Seen::NotYet(format!("{rows:?}")),
        }
    })
    .await
    .unwrap();
}

/// It ends in time and with success, and has logged lines of JSON without a secret.
async fn end(container: &Container, process: &mut Process, folder: &Path) {
    process.terminate(Signal::TERM, END_BOUND).await.unwrap();
    let name = container.name;
    assert!(process.exit_status().unwrap().success(), "{name}");
    let log = fs::read_to_string(folder.join(format!("{name}.log"))).unwrap();
    let mut lines = log.lines().peekable();
    assert!(
        lines.peek().is_some() && lines.all(|line| line.starts_with('{')),
        "{log}"
    );
    assert_eq!(leaks::find(&log), None, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/images-test.sh builds the images that it starts"]
async fn the_images_run_as_compose_runs_them_and_an_event_ends_in_its_row() {
    let folder = PrivateFolder::make("images").unwrap();
    let servers = servers(folder.path()).await;
    let (containers, public) = containers(&servers);
    let mut processes = containers.each_ref().map(|one| one.start(folder.path()));
    for (container, process) in containers.iter().zip(&mut processes) {
        container.until_healthy(process).await;
        check_rights(process);
    }

    let body = paid(7).bytes();
    let signature = sign(SECRET, now(), &body);
    let url = format!("http://{public}");
    let answer = http::post_event(&url, &signature, body).await.unwrap();
    assert_eq!(answer.status, 200);
    until_row(&servers, "7 in_7 PAID").await;

    for (container, process) in containers.iter().zip(&mut processes) {
        end(container, process, folder.path()).await;
    }
}
