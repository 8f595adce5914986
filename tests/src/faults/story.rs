//! How the events of a world come about: bookings that are paid, voided, told
//! twice or claimed by others, and hosts that come and go.

use fastrand::Rng;

use super::world::{Flaw, START, Tale, World};
use crate::reference::{Said, Sign, SignKind, Values, What};

/// Events in one second of Stripe's time: many share theirs.
const A_SECOND: usize = 50;
/// The bookings that many events are about.
pub(super) const HOT: [i32; 2] = [1, 2];
/// One event in so many is about each of them.
const HOT_ONE_IN: u32 = 100;

/// The account of the host that writes into its metadata whatever costs the worker most.
const HOSTILE: &str = "acct_Hostile";
/// The bookings that its invoices name: another account's, whose claims are earlier.
const OTHERS: [i32; 2] = [3, 4];
/// The booking that many of its invoices name.
const CROWDED: i32 = 5;

/// Tells stories until there are about `count` events; half of them of a hostile host, where one is
/// there.
pub(super) fn tell(rng: &mut Rng, count: usize, has_hostile_host: bool) -> World {
    let hosts = (count / 200).max(20);
    let mut teller = Teller {
        rng,
        tales: Vec::with_capacity(count + 16),
        bookings: HOT[1],
        hosts: vec![None; hosts],
    };
    if has_hostile_host {
        teller.bookings = CROWDED;
        for booking in OTHERS {
            teller.names("acct_Owner", &format!("in_{booking}"), Some(booking));
        }
    }
    while teller.tales.len() < count {
        if has_hostile_host && teller.rng.bool() {
            teller.hostile();
            continue;
        }
        match teller.rng.u32(..HOT_ONE_IN) {
            0 => teller.hot(HOT[0]),
            1 => teller.hot(HOT[1]),
            2 => teller.odd(),
            3..30 => teller.host(),
            _ => teller.booking(),
        }
    }
    World {
        bookings: teller.bookings,
        tales: teller.tales,
    }
}

/// Whether a line of the oracle is of what the schema `stripe` keeps of the hostile host's own
/// objects. The worker's bounds decide that, and its tests look at it; the oracle looks at what
/// others see of it: `"Invoice"` and the ledger.
pub(super) fn is_hostile(line: &str) -> bool {
    line.starts_with("in_hostile_") || line.contains(&format!(" {HOSTILE} "))
}

struct Teller<'a> {
    rng: &'a mut Rng,
    tales: Vec<Tale>,
    bookings: i32,
    /// What was last told of each host.
    hosts: Vec<Option<Values>>,
}

/// A status, the event that tells it, and whether there is a PDF by then.
type Step = (&'static str, &'static str, bool);

const DRAFT: Step = ("invoice.created", "draft", false);
const OPEN: Step = ("invoice.finalized", "open", true);
/// How an open invoice goes on.
const ENDS: [Step; 8] = [
    ("invoice.paid", "paid", true),
    ("invoice.paid", "paid", true),
    ("invoice.payment_succeeded", "paid", true),
    ("invoice.sent", "open", true),
    ("invoice.payment_failed", "open", false),
    ("invoice.voided", "void", true),
    ("invoice.marked_uncollectible", "uncollectible", true),
    ("invoice.updated", "paid", false),
];

/// Why accounts are held back, if they are.
const REASONS: [Option<&str>; 6] = [
    None,
    None,
    Some("rejected.fraud"),
    Some("under_review"),
    Some("platform_paused"),
    Some("requirements.pending_verification"),
];

impl Teller<'_> {
    fn second(&mut self) -> i64 {
        let passed = self.tales.len() / A_SECOND;
        START + i64::try_from(passed).unwrap_or(0) + self.rng.i64(0..3)
    }

    /// Ids that do not follow the order of the stories.
    fn event_id(&mut self) -> String {
        format!("evt_{:08x}{:x}", self.rng.u32(..), self.tales.len())
    }

    fn account(host: usize) -> String {
        format!("acct_{host:06}")
    }

    fn booking(&mut self) {
        self.bookings += 1;
        let (booking, host) = (self.bookings, self.rng.usize(..self.hosts.len()));
        let account = Self::account(host);
        // Who names the booking: both, the session, the invoice, or nobody.
        let (by_session, by_invoice) = match self.rng.u8(..20) {
            0..12 => (Some(booking), Some(booking)),
            12..17 => (Some(booking), None),
            17..19 => (None, Some(booking)),
            _ => (None, None),
        };
        let invoice = format!("in_{booking}");
        self.session(&account, booking, by_session, &invoice);
        self.invoice(&account, &invoice, by_invoice);
        if self.rng.u8(..10) == 0 {
            self.invoice(&account, &format!("in_{booking}again"), by_invoice);
        }
        if self.rng.u8(..30) == 0 {
            let other = Self::account((host + 1) % self.hosts.len());
            self.invoice(&other, &format!("in_{booking}other"), Some(booking));
        }
    }

    fn session(&mut self, account: &str, number: i32, booking: Option<i32>, invoice: &str) {
        let told_early = self.rng.u8(..5) == 0;
        let links = if told_early {
            vec![None, Some(invoice.to_owned())]
        } else {
            vec![Some(invoice.to_owned())]
        };
        for invoice in links {
            let (payment, status) = match &invoice {
                Some(_) => ("paid", "complete"),
                None => ("unpaid", "open"),
            };
            let what = What::Session {
                id: format!("cs_test_{number}"),
                invoice,
                payment: Some(payment),
                status: Some(status),
                intent: Some(format!("pi_test_{number}")),
                is_told: false,
            };
            self.say(account, booking, what);
        }
    }

    fn invoice(&mut self, account: &str, id: &str, booking: Option<i32>) {
        let total = self.rng.i64(0..50_000);
        let currency = ["eur", "eur", "jpy", "kwd"][self.rng.usize(..4)];
        let made = self.second();
        let mut steps = vec![DRAFT];
        match self.rng.u8(..12) {
            0 => steps.push(("invoice.deleted", "draft", false)),
            _ => {
                steps.push(OPEN);
                steps.push(ENDS[self.rng.usize(..ENDS.len())]);
            }
        }
        for (kind, status, has_pdf) in steps {
            let what = What::Invoice {
                id: id.to_owned(),
                kind: kind.to_owned(),
                status: Some(status.to_owned()),
                total,
                currency: currency.to_owned(),
                made,
                pdf: has_pdf.then(|| format!("https://pay.stripe.com/{id}/{kind}")),
            };
            self.say(account, booking, what);
        }
    }

    fn say(&mut self, account: &str, booking: Option<i32>, what: What) {
        let said = Said {
            id: self.event_id(),
            created: self.second(),
            account: account.to_owned(),
            booking,
            what,
        };
        self.tales.push(Tale::Object(said));
    }

    /// One of the invoices that change all the time.
    fn hot(&mut self, booking: i32) {
        self.names("acct_Hot", &format!("in_{booking}"), Some(booking));
    }

    /// An invoice that names a booking, or none, and changes in nothing else but its total.
    fn names(&mut self, account: &str, invoice: &str, booking: Option<i32>) {
        let what = What::Invoice {
            id: invoice.to_owned(),
            kind: "invoice.updated".to_owned(),
            status: Some("open".to_owned()),
            total: self.rng.i64(0..50_000),
            currency: "eur".to_owned(),
            made: START,
            pdf: Some(format!("https://pay.stripe.com/{invoice}")),
        };
        self.say(account, booking, what);
    }

    /// One invoice that goes back and forth between two bookings of another account, one that names
    /// any booking each time, and ever more that name one booking or none.
    fn hostile(&mut self) {
        let any = self.rng.i32(1..=self.bookings);
        let crowd = format!("in_hostile_{}", self.tales.len());
        match self.rng.u8(..4) {
            0 => {
                let booking = OTHERS[self.rng.usize(..OTHERS.len())];
                self.names(HOSTILE, "in_hostile_back_and_forth", Some(booking));
            }
            1 => self.names(HOSTILE, "in_hostile_one_after_the_other", Some(any)),
            2 => self.names(HOSTILE, &crowd, Some(CROWDED)),
            _ => self.names(HOSTILE, &crowd, None),
        }
    }

    /// A host changes a few times, or leaves, or comes back.
    fn host(&mut self) {
        let host = self.rng.usize(..self.hosts.len());
        for _ in 0..self.rng.u8(1..4) {
            let what = match self.rng.u8(..12) {
                0 => SignKind::Deauthorized(self.application()),
                1 => SignKind::Authorized(self.application()),
                _ => self.update(host),
            };
            let sign = Sign {
                id: self.event_id(),
                created: self.second(),
                what,
            };
            let account = Self::account(host);
            self.tales.push(Tale::Account { account, sign });
        }
    }

    /// The platform's application, now and then another one.
    fn application(&mut self) -> Option<&'static str> {
        let is_other = self.rng.u8(..4) == 0;
        Some(if is_other { "ca_Other" } else { "ca_Dialoom" })
    }

    fn update(&mut self, host: usize) -> SignKind {
        let after = Values {
            details: self.rng.u8(..8) > 0,
            charges: self.rng.bool(),
            payouts: self.rng.bool(),
            due: self.rng.bool(),
            past_due: self.rng.u8(..4) == 0,
            pending: self.rng.u8(..4) == 0,
            future: self.rng.u8(..4) == 0,
            reason: REASONS[self.rng.usize(..REASONS.len())],
            card: self.rng.u8(..4) > 0,
            legacy: self.rng.u8(..8) == 0,
            standard: host.is_multiple_of(3),
        };
        let before = self.hosts[host].replace(after.clone());
        SignKind::Updated { after, before }
    }

    fn odd(&mut self) {
        let id = self.event_id();
        let tale = match self.rng.u8(..4) {
            0 => Tale::Unwanted { id, live: false },
            1 => Tale::Unwanted { id, live: true },
            _ => Tale::Flawed {
                id,
                flaw: Flaw::ALL[self.rng.usize(..Flaw::ALL.len())],
            },
        };
        self.tales.push(tale);
    }
}
