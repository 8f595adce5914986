//! Short forms of `make faults`: everything that can be broken on one machine
//! in a minute is broken while events flow, services and servers are killed while
//! bookings are sold, and nothing is lost, doubled or wrong.

use harness::{
    faults::{self, Clock, Fault, Load, Plan, report},
    servers::Durability,
};

/// Drawn once; any other does as well.
const SEED: u64 = 20_251_009;

/// Each has servers of its own and keeps the machine busy: together they would wait for it.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_everything_breaks() {
    let plan = Plan {
        name: "short".to_owned(),
        load: Load::Events,
        faults: Fault::ALL
            .into_iter()
            .filter(|fault| fault.is_common())
            .collect(),
        rests: 1.0,
        attacks: Vec::new(),
        clock: Clock::Wrong,
        seed: SEED,
        events: 4_000,
        rate: 200,
        durability: Durability::Fast,
    };
    let _one_at_a_time = ONE_AT_A_TIME.lock().await;
    let outcome = faults::run(&plan).await.unwrap();
    let table = report::table(std::slice::from_ref(&outcome));
    assert!(outcome.is_good(), "{table}");
    assert!(outcome.kills > 0, "nothing was killed:\n{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_booking_is_sold_once_while_services_and_servers_are_killed() {
    let plan = Plan {
        name: "short-bookings".to_owned(),
        load: Load::Bookings,
        faults: Fault::KILLS.to_vec(),
        rests: 1.0,
        attacks: Vec::new(),
        clock: Clock::Right,
        seed: SEED,
        events: 60,
        rate: 15,
        durability: Durability::Fast,
    };
    let _one_at_a_time = ONE_AT_A_TIME.lock().await;
    let outcome = faults::run(&plan).await.unwrap();
    let table = report::table(std::slice::from_ref(&outcome));
    assert!(outcome.is_good(), "{table}");
    assert!(outcome.kills > 0, "nothing was killed:\n{table}");
}
