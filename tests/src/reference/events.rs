//! The events that say what the reference is told.

use serde_json::{Value, json};

use super::{Said, Sign, SignKind, Values, What};
use crate::stripe::{Account, Charge, CheckoutSession, CreditNote, Event, Invoice, SAMPLE_TIME};

/// When what will be due has to be there.
const DEADLINE: i64 = SAMPLE_TIME + 86_400;

impl Said {
    /// The event as Stripe would send it.
    #[must_use]
    pub fn event(&self) -> Event {
        let (kind, object) = match &self.what {
            What::Invoice {
                id,
                kind,
                status,
                total,
                currency,
                made,
                pdf,
            } => {
                let mut object = Invoice {
                    id: id.clone(),
                    booking: None,
                    total: *total,
                    currency: currency.clone(),
                    created: *made,
                    ..Invoice::default()
                }
                .value();
                object["status"] = json!(status);
                object["invoice_pdf"] = json!(pdf);
                object["metadata"] = metadata(self.booking);
                (kind.as_str(), object)
            }
            What::Session {
                id,
                invoice,
                payment,
                status,
                intent,
                is_told,
            } => (session_event(*is_told), {
                let mut object = CheckoutSession {
                    id: id.clone(),
                    ..CheckoutSession::default()
                }
                .value();
                object["invoice"] = json!(invoice);
                object["payment_intent"] = json!(intent);
                object["payment_status"] = json!(payment);
                object["status"] = json!(status);
                self.name_booking(&mut object);
                object
            }),
            What::Charge {
                id,
                refunded,
                intent,
                invoice,
            } => ("charge.refunded", {
                let charge = Charge {
                    id: id.clone(),
                    refunded: *refunded,
                    ..Charge::default()
                };
                let mut object = charge.value();
                object["payment_intent"] = json!(intent);
                object["invoice"] = json!(invoice);
                object
            }),
            What::Note {
                id,
                total,
                is_void,
                invoice,
            } => {
                let note = CreditNote {
                    id: id.clone(),
                    total: *total,
                    is_void: *is_void,
                    ..CreditNote::default()
                };
                let mut object = note.value();
                object["invoice"] = json!(invoice);
                (
                    if *is_void {
                        "credit_note.voided"
                    } else {
                        "credit_note.updated"
                    },
                    object,
                )
            }
        };
        let event = Event::new(&self.id, kind, object).at(self.created);
        match self.account.as_str() {
            "" => event,
            account => event.of_account(account),
        }
    }

    fn name_booking(&self, session: &mut Value) {
        session["metadata"] = metadata(self.booking);
    }
}

/// The type of an event of a session.
fn session_event(is_told: bool) -> &'static str {
    match is_told {
        true => "dialoom.checkout.session.told",
        false => "checkout.session.completed",
    }
}

fn metadata(booking: Option<i32>) -> Value {
    match booking {
        Some(id) => json!({ "dialoomBookingId": id.to_string() }),
        None => json!({}),
    }
}

impl Sign {
    /// The event of this account as Stripe would send it.
    #[must_use]
    pub fn event(&self, account: &str) -> Event {
        let event = match &self.what {
            SignKind::Deauthorized(id) => connection(&self.id, "deauthorized", *id),
            SignKind::Authorized(id) => connection(&self.id, "authorized", *id),
            SignKind::Closed => Event::new(&self.id, "v2.core.account.closed", Value::Null),
            SignKind::Updated { after, before } => {
                let mut event = Event::new(&self.id, "account.updated", after.object(account));
                event.previous_attributes = before.as_ref().map(|before| before.changed_to(after));
                event
            }
        };
        event.of_account(account).at(self.created)
    }
}

/// What became of the connection by an application.
fn connection(event: &str, what: &str, id: Option<&str>) -> Event {
    let object = match id {
        Some(id) => json!({ "id": id, "object": "application", "name": "Dialoom" }),
        None => json!({}),
    };
    Event::new(event, &format!("account.application.{what}"), object)
}

impl Values {
    fn object(&self, account: &str) -> Value {
        let mut object = Account {
            id: account.to_owned(),
            ..Account::default()
        }
        .value();
        for (path, value) in self.fields() {
            put(&mut object, path, value);
        }
        object
    }

    /// The fields that generators change, each with its path.
    fn fields(&self) -> Vec<(&'static [&'static str], Value)> {
        let list = |is_some: bool| match is_some {
            true => json!(["external_account"]),
            false => json!([]),
        };
        let kind = if self.standard { "standard" } else { "express" };
        let active = |is_active: bool| json!(if is_active { "active" } else { "inactive" });
        vec![
            (&["details_submitted"], json!(self.details)),
            (&["charges_enabled"], json!(self.charges)),
            (&["payouts_enabled"], json!(self.payouts)),
            (&["type"], json!(kind)),
            (&["capabilities", "card_payments"], active(self.card)),
            (&["capabilities", "legacy_payments"], active(self.legacy)),
            (&["requirements", "currently_due"], list(self.due)),
            (&["requirements", "past_due"], list(self.past_due)),
            (
                &["requirements", "pending_verification"],
                list(self.pending),
            ),
            (&["requirements", "disabled_reason"], json!(self.reason)),
            (&["future_requirements", "currently_due"], list(self.future)),
            (
                &["future_requirements", "current_deadline"],
                json!(self.future.then_some(DEADLINE)),
            ),
        ]
    }

    /// What differs from these values, as Stripe tells it: the earlier value of
    /// what changed alone.
    fn changed_to(&self, after: &Self) -> Value {
        let mut previous = json!({});
        for ((path, before), (_, after)) in self.fields().into_iter().zip(after.fields()) {
            if before != after {
                put(&mut previous, path, before);
            }
        }
        previous
    }
}

fn put(object: &mut Value, path: &[&str], value: Value) {
    let mut place = object;
    for name in path {
        place = &mut place[*name];
    }
    *place = value;
}
