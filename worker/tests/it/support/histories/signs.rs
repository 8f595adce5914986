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
        standard in any::<bool>(),
    ) -> Values {
        Values { details, charges, payouts, due, past_due, pending, future, reason, card, standard }
    }
}

/// Up to eight events of one account, in three seconds. It goes back and forth
/// between three states, so that events often follow each other.
pub fn signs() -> impl Strategy<Value = Vec<Sign>> {
    let kind = prop_oneof![
        1 => Just(None),
        1 => Just(Some(None)),
        6 => (0..3_usize, prop::option::weighted(0.8, 0..3_usize)).prop_map(|states| Some(Some(states))),
    ];
    let states = prop::collection::vec(values(), 3);
    let signs = prop::collection::vec((kind, 0..3_i64), 1..9);
    (states, signs).prop_map(|(states, signs)| {
        let signs = signs.into_iter().enumerate();
        signs
            .map(|(index, (kind, second))| Sign {
                id: format!("evt_{index}"),
                created: START + second,
                what: match kind {
                    None => SignKind::Deauthorized,
                    Some(None) => SignKind::Authorized,
                    Some(Some((after, before))) => SignKind::Updated {
                        after: states[after].clone(),
                        before: before.map(|before: usize| states[before].clone()),
                    },
                },
            })
            .collect()
    })
}
