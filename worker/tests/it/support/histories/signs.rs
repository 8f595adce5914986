//! Events of one connected account.

use proptest::prelude::*;

use super::START;
use harness::reference::{Sign, SignKind, Values};

prop_compose! {
    fn values()(
        details in prop::bool::weighted(0.8),
        charges in prop::bool::weighted(0.7),
        payouts in prop::bool::weighted(0.7),
        due in any::<bool>(),
        past_due in prop::bool::weighted(0.3),
        pending in prop::bool::weighted(0.3),
        future in prop::bool::weighted(0.3),
        reason in prop::sample::select(vec![
            None, None, None, None, Some("rejected.fraud"), Some("rejected.other"), Some("listed"),
            Some("under_review"), Some("platform_paused"), Some("requirements.past_due"),
            Some("requirements.pending_verification"),
        ]),
        card in any::<bool>(),
        legacy in prop::bool::weighted(0.2),
        standard in any::<bool>(),
    ) -> Values {
        Values {
            details, charges, payouts, due, past_due, pending, future, reason, card, legacy, standard,
        }
    }
}

/// One of two applications, or none that the event would name.
fn application() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![
        Some("ca_a"),
        Some("ca_a"),
        Some("ca_b"),
        Some("ca_b"),
        None,
    ])
}

/// What happens to an account; states are places of values.
#[derive(Clone, Debug)]
enum Kind {
    Deauthorized(Option<&'static str>),
    Authorized(Option<&'static str>),
    Closed,
    Updated(usize, Option<usize>),
}

/// Up to ten events of one account, in four seconds. It goes back and forth
/// between three states, so that events often follow each other, and is connected and
/// cut by two applications. Now and then it is closed.
pub fn signs() -> impl Strategy<Value = Vec<Sign>> {
    let kind = prop_oneof![
        6 => application().prop_map(Kind::Deauthorized),
        6 => application().prop_map(Kind::Authorized),
        1 => Just(Kind::Closed),
        15 => (0..3_usize, prop::option::weighted(0.8, 0..3_usize))
            .prop_map(|(after, before)| Kind::Updated(after, before)),
    ];
    let states = prop::collection::vec(values(), 3);
    let signs = prop::collection::vec((kind, 0..4_i64), 1..11);
    (states, signs).prop_map(|(states, signs)| {
        let signs = signs.into_iter().enumerate();
        signs
            .map(|(index, (kind, second))| Sign {
                id: format!("evt_{index}"),
                created: START + second,
                what: match kind {
                    Kind::Deauthorized(application) => SignKind::Deauthorized(application),
                    Kind::Authorized(application) => SignKind::Authorized(application),
                    Kind::Closed => SignKind::Closed,
                    Kind::Updated(after, before) => SignKind::Updated {
                        after: states[after].clone(),
                        before: before.map(|before| states[before].clone()),
                    },
                },
            })
            .collect()
    })
}
