//! A short form of `make faults`: everything that can be broken on one machine
//! in a minute is broken while events flow, and nothing is lost, doubled or
//! wrong.

use harness::{
    faults::{self, Clock, Fault, Plan, report},
    servers::Durability,
};

/// Drawn once; any other does as well.
const SEED: u64 = 20_251_009;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_everything_breaks() {
    let plan = Plan {
        name: "short".to_owned(),
        faults: Fault::ALL
            .into_iter()
            .filter(|fault| fault.is_common())
            .collect(),
        attacks: Vec::new(),
        clock: Clock::Wrong,
        seed: SEED,
        events: 4_000,
        rate: 200,
        durability: Durability::Fast,
    };
    let outcome = faults::run(&plan).await.unwrap();
    let table = report::table(std::slice::from_ref(&outcome));
    assert!(outcome.is_good(), "{table}");
    assert!(outcome.kills > 0, "nothing was killed:\n{table}");
}
