//! The templates, made from the harness's samples.

use harness::stripe::{Account, ApiVersion, CheckoutSession, Event, Invoice};
use serde_json::{Value, json};

use super::template::{CREATED, MADE, TOTAL, Template};

/// The templates of all kinds of events.
#[derive(Debug)]
pub(super) struct Samples {
    pub(super) invoice_created: Template,
    pub(super) invoice_finalized: Template,
    pub(super) invoice_paid: Template,
    pub(super) session_completed: Template,
    /// An account of which something is due.
    pub(super) account_due: Template,
    /// An account with nothing left to do.
    pub(super) account_done: Template,
}

impl Samples {
    pub(super) fn new() -> Self {
        Self {
            invoice_created: invoice("invoice.created", "draft"),
            invoice_finalized: invoice("invoice.finalized", "open"),
            invoice_paid: invoice("invoice.paid", "paid"),
            session_completed: session(),
            account_due: account(true),
            account_done: account(false),
        }
    }
}

fn template(kind: &str, object: Value, previous: Option<Value>) -> Template {
    let mut event = Event::new("evt_@@event@@", kind, object)
        .of_account("acct_@@account@@")
        .at(CREATED);
    event.version = ApiVersion::V2025_09_30Clover;
    event.previous_attributes = previous;
    Template::of(&event.value())
}

fn invoice(kind: &str, status: &str) -> Template {
    let mut invoice = Invoice {
        id: "in_@@invoice@@".to_owned(),
        status: status.to_owned(),
        booking: Some("@@booking@@".to_owned()),
        total: TOTAL,
        version: ApiVersion::V2025_09_30Clover,
        ..Invoice::default()
    }
    .value();
    invoice["created"] = MADE.into();
    if status != "draft" {
        // As long as Stripe's own addresses.
        let token = "acct_@@account@@/test_@@session@@@@session@@";
        invoice["number"] = "DIALOOM@@booking@@-0001".into();
        invoice["hosted_invoice_url"] = format!("https://invoice.stripe.com/i/{token}?s=ap").into();
        invoice["invoice_pdf"] = format!("https://pay.stripe.com/invoice/{token}/pdf?s=ap").into();
    }
    template(kind, invoice, None)
}

fn session() -> Template {
    let mut session = CheckoutSession {
        id: "cs_test_@@session@@".to_owned(),
        booking: Some("@@booking@@".to_owned()),
        invoice: Some("in_@@invoice@@".to_owned()),
        total: TOTAL,
        version: ApiVersion::V2025_09_30Clover,
        ..CheckoutSession::default()
    }
    .value();
    session["created"] = MADE.into();
    session["payment_intent"] = "pi_@@invoice@@".into();
    template("checkout.session.completed", session, None)
}

fn account(is_due: bool) -> Template {
    let mut account = Account {
        id: "acct_@@account@@".to_owned(),
        host: Some("@@host@@".to_owned()),
        version: ApiVersion::V2025_09_30Clover,
        ..Account::default()
    }
    .value();
    let due = json!(["individual.verification.document", "external_account"]);
    let (before, after) = if is_due {
        (json!([]), due)
    } else {
        (due, json!([]))
    };
    account["requirements"]["currently_due"] = after.clone();
    account["requirements"]["eventually_due"] = after;
    let previous = json!({ "requirements": { "currently_due": before, "eventually_due": before } });
    template("account.updated", account, Some(previous))
}
