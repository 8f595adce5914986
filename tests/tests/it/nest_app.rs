//! The way of docs/MAIN_APP.md from an empty folder to a paid booking: its app with NestJS,
//! Prisma and HTTP, and the stand-in for Stripe that `make stripe` starts.

use std::process::Stdio;

use harness::{
    http,
    nest::NestProject,
    ports,
    services::Service,
    stripe::{Account, Event},
    wait::{self, Seen},
};
use hyper::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::support::{BOUND, Deployment, SECRET};

const MAIN_APP: &str = include_str!("../../../docs/MAIN_APP.md");

/// A process that prints lines, and may be told some.
struct Talking {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Talking {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            _child: child,
            input,
            output,
        }
    }

    async fn tell(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
    }

    /// Waits for a line that holds this text.
    async fn until(&mut self, text: &str) {
        let mut heard = Vec::new();
        let said = timeout(BOUND, async {
            while let Some(line) = self.output.next_line().await.unwrap() {
                if line.contains(text) {
                    return;
                }
                heard.push(line);
            }
        });
        said.await
            .unwrap_or_else(|_| panic!("no {text:?} in {heard:#?}"));
    }
}

/// The app, by HTTP.
struct Shop(String);

impl Shop {
    async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/{path}", self.0);
        let headers = [("content-type", "application/json")];
        let body = if method == Method::GET {
            String::new()
        } else {
            body.to_string()
        };
        let answer = http::send(method, &url, &headers, body).await.unwrap();
        let said = serde_json::from_str(&answer.text()).unwrap_or(Value::Null);
        (answer.status.as_u16(), said)
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, said) = self.ask(Method::POST, path, body).await;
        assert_eq!(status, 201, "{path}: {said}");
        said
    }

    /// Where a page leads.
    async fn redirect(&self, path: &str) -> String {
        let answer = http::get(&format!("{}/{path}", self.0)).await.unwrap();
        assert_eq!(answer.status, StatusCode::FOUND, "{path}: {answer:?}");
        let location = answer.headers[header::LOCATION].to_str().unwrap();
        location.to_owned()
    }

    async fn get(&self, path: &str) -> Value {
        let (status, said) = self.ask(Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {said}");
        said
    }
}

/// The statement by which the document makes the table of bookings.
fn make_bookings() -> &'static str {
    let command = MAIN_APP.split(r#"psql "$DATABASE_URL" -c '"#).nth(1);
    command.unwrap().split('\'').next().unwrap()
}

/// What `make stripe` starts.
async fn stripe(dialoom: &Deployment, port: u16) -> Talking {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
    command
        .args(["stripe", "--port", &port.to_string()])
        .env("INGEST_URL", dialoom.ingest.url())
        .env("STRIPE_WEBHOOK_SECRETS", format!("connect={SECRET}"));
    let mut stripe = Talking::start(&mut command);
    stripe.until("Type `help`").await;
    stripe
}

async fn worker(dialoom: &Deployment, stripe: u16, app: &str) -> Service {
    let options = dialoom
        .worker_options()
        .env("STRIPE_API_KEY", "sk_test_standin")
        .env("STRIPE_API_BASE", format!("http://127.0.0.1:{stripe}/"))
        .env("REDIRECT_ORIGINS", app)
        .env("CHANGES", "yes");
    let worker = Service::start(options).await.unwrap();
    dialoom.until_commands().await;
    worker
}

/// Starts what the document has in `src/main.ts`.
async fn app(dialoom: &Deployment, url: &str, port: u16) -> Talking {
    let project = NestProject::get().await.unwrap();
    let mut command = project.script("dist/main.js");
    command
        .env("DATABASE_URL", dialoom.database.url())
        .env("AMQP_URL", dialoom.broker.url())
        .env("AMQP_PREFIX", dialoom.broker.prefix())
        .env("APP_URL", url)
        .env("PORT", port.to_string())
        .env("NO_COLOR", "yes");
    let app = Talking::start(&mut command);
    // It says that it has started before it listens.
    let address = ("127.0.0.1", port);
    wait::until(
        "the app to listen",
        BOUND,
        async || match TcpStream::connect(address).await {
            Ok(_) => Seen::Reached(()),
            Err(error) => Seen::NotYet(error.to_string()),
        },
    )
    .await
    .unwrap();
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_way_ends_with_a_paid_booking() {
    let dialoom = Deployment::start("shop").await;
    let bookings = format!(r#"DROP TABLE "Booking"; {}"#, make_bookings());
    dialoom.client.batch_execute(&bookings).await.unwrap();
    let (api, port) = (ports::free().unwrap(), ports::free().unwrap());
    let url = format!("http://localhost:{port}");
    let mut stripe = stripe(&dialoom, api).await;
    let _worker = worker(&dialoom, api, &url).await;
    let mut app = app(&dialoom, &url, port).await;
    let shop = Shop(format!("http://127.0.0.1:{port}"));

    // A host who has handed in nothing sells nothing.
    let ana = json!({ "email": "ana@example.org", "country": "ES" });
    let host = shop.post("hosts/1/onboarding", ana).await;
    let call = json!({ "hostId": 1, "title": "A call", "price": "45.50", "currency": "eur" });
    let (status, _) = shop.ask(Method::POST, "bookings", call.clone()).await;
    assert_eq!(status, 422);
    // Her link was used, so Stripe sends her to the app, which sends her to another one.
    let again = shop.redirect("hosts/1/onboarding").await;
    assert!(again.starts_with("https://"), "{again}");
    assert_ne!(host["url"], *again);
    stripe
        .tell(&format!(
            "onboard {}",
            host["stripeAccountId"].as_str().unwrap()
        ))
        .await;
    stripe.until("can sell").await;
    app.until("host 1: ENABLED").await;
    assert_eq!(shop.get("hosts/1").await["canSell"], true);
    assert_eq!(shop.redirect("hosts/1/onboarding").await, "/hosts/1");
    // An account whose holder has written her id is not sold by.
    let forged = Account {
        id: "acct_forged".into(),
        host: Some("1".into()),
        ..Account::default()
    };
    let forged = Event::new("evt_forged", "account.updated", forged.value());
    dialoom.deliver(&forged.of_account("acct_forged")).await;
    let can_sell =
        r#"SELECT count(*)::text FROM "HostOnboarding" WHERE "hostId" = '1' AND "canSell""#;
    dialoom.until(can_sell, "2").await;

    let booking = shop.post("bookings", call).await;
    assert_eq!(booking["stripeAccountId"], host["stripeAccountId"]);
    let path = format!("bookings/{}", booking["id"]);
    let checkout = shop.post(&format!("{path}/checkout"), json!({})).await;
    assert_eq!(shop.get(&path).await["invoice"], Value::Null);
    let session = checkout["sessionId"].as_str().unwrap();
    stripe.tell("pay cs_of_somebody_else").await;
    stripe.until("there is no session").await;
    stripe.tell(&format!("pay {session}")).await;
    stripe.until("is paid").await;
    app.until("booking 1: booking.invoice.paid").await;

    let invoice = &shop.get(&path).await["invoice"];
    assert_eq!(invoice["status"], "PAID");
    assert_eq!(
        (&invoice["amount"], &invoice["currency"]),
        (&json!("45.5"), &json!("eur"))
    );
    assert!(invoice["pdfUrl"].as_str().unwrap().starts_with("https://"));
    let again = shop
        .ask(Method::POST, &format!("{path}/checkout"), json!({}))
        .await;
    assert_eq!((again.0, &again.1["code"]), (422, &json!("booking_paid")));
}
