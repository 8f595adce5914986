//! Delivers the story's events as Stripe would.

use anyhow::Result;
use harness::{
    http::{self, Answer},
    stripe::{Event, now, sign},
};
use lapin::message::Delivery as Message;

use super::story::{Story, Told};

/// Seed of the order, so that every run shows the same one.
const SEED: u64 = 7;

/// How a delivery differs from the first one of its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    First,
    Again,
    Forged,
}

/// A delivery and what came back.
pub(super) struct Answered {
    pub(super) delivery: Delivery,
    pub(super) kind: String,
    pub(super) about: String,
    pub(super) answer: Answer,
}

/// Delivers every event twice, in a shuffled order, and the forged one among them.
pub(super) async fn all(story: &Story, url: &str, secret: &str) -> Result<Vec<Answered>> {
    let mut order: Vec<&Told> = story
        .events
        .iter()
        .chain(&story.events)
        .chain([&story.forged])
        .collect();
    fastrand::Rng::with_seed(SEED).shuffle(&mut order);
    let mut answers = Vec::with_capacity(order.len());
    let mut delivered = Vec::new();
    for told in order {
        let id = told.event.id.as_str();
        let delivery = match (id == story.forged.event.id, delivered.contains(&id)) {
            (true, _) => Delivery::Forged,
            (false, true) => Delivery::Again,
            (false, false) => Delivery::First,
        };
        delivered.push(id);
        let answer = deliver(&told.event, delivery, url, secret).await?;
        let (kind, about) = (told.event.kind.clone(), told.about.clone());
        answers.push(Answered {
            delivery,
            kind,
            about,
            answer,
        });
    }
    Ok(answers)
}

async fn deliver(event: &Event, delivery: Delivery, url: &str, secret: &str) -> Result<Answer> {
    // Two deliveries of one event differ in their bytes.
    let pending_webhooks = if delivery == Delivery::Again { 0 } else { 1 };
    let body = Event {
        pending_webhooks,
        ..event.clone()
    }
    .bytes();
    let secret = if delivery == Delivery::Forged {
        "whsec_a_guess"
    } else {
        secret
    };
    http::post_event(url, &sign(secret, now(), &body), body).await
}

/// In what the answers and the published messages are not as they should be.
pub(super) fn unexpected(
    answers: &[Answered],
    published: &[Message],
    story: &Story,
) -> Vec<String> {
    let wanted = |delivery| {
        if delivery == Delivery::Forged {
            400
        } else {
            200
        }
    };
    let wrong = answers
        .iter()
        .filter(|answered| answered.answer.status.as_u16() != wanted(answered.delivery));
    let mut found: Vec<String> = wrong
        .map(|answered| {
            format!(
                "{} of {} got {}",
                answered.kind, answered.about, answered.answer.status
            )
        })
        .collect();
    let genuine = answers
        .iter()
        .filter(|answered| answered.delivery != Delivery::Forged)
        .count();
    if published.len() != genuine {
        found.push(format!(
            "{} messages were published for {genuine} deliveries",
            published.len()
        ));
    }
    if is_published(&story.forged, published) {
        found.push("the forged event was published".to_owned());
    }
    found
}

/// Whether a message of this event is among those published.
pub(super) fn is_published(told: &Told, published: &[Message]) -> bool {
    let is_its = |message: &Message| {
        let id = message.properties.message_id();
        id.as_ref().is_some_and(|id| id.as_str() == told.event.id)
    };
    published.iter().any(is_its)
}
