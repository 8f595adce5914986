//! Which runs there are.

use anyhow::{Result, bail};
use harness::{
    faults::{Attack, Clock, Fault, Load, Plan},
    servers::Durability,
};

use crate::Arguments;

/// The runs that are wanted: each fault alone, then all of them together.
pub(crate) fn plans(arguments: &Arguments, seed: u64) -> Result<Vec<Plan>> {
    let plain = |name: &str| Plan {
        name: name.to_owned(),
        load: Load::Events,
        faults: Vec::new(),
        rests: 1.0,
        attacks: Vec::new(),
        clock: Clock::Right,
        seed,
        events: arguments.events,
        rate: arguments.rate,
        durability: Durability::Durable,
    };
    let longer_than_a_minute = usize::try_from(arguments.rate)? * 75;
    let mut plans = vec![Plan {
        clock: Clock::Wrong,
        ..plain("clocks")
    }];
    plans.extend(Fault::ALL.map(|fault| Plan {
        faults: vec![fault],
        events: match fault {
            Fault::TablesLockedLong => arguments.events.max(longer_than_a_minute),
            _ => arguments.events,
        },
        ..plain(fault.name())
    }));
    plans.extend(Attack::ALL.map(|attack| Plan {
        attacks: vec![attack],
        ..plain(attack.name())
    }));
    plans.push(Plan {
        attacks: vec![Attack::Idle, Attack::Forged],
        ..plain("idle-and-forged")
    });
    plans.push(Plan {
        attacks: Attack::ALL.to_vec(),
        ..plain("all-attacks")
    });
    plans.push(Plan {
        load: Load::HostileHost,
        faults: Fault::KILLS.to_vec(),
        ..plain("hostile-host")
    });
    plans.push(Plan {
        load: Load::Bookings,
        faults: Fault::KILLS.to_vec(),
        // A booking needs all of them at once, over a second: it is to be sold in between.
        rests: 4.0,
        events: arguments.bookings,
        rate: arguments.booking_rate,
        ..plain("bookings")
    });
    let common = Fault::ALL.into_iter().filter(|fault| fault.is_common());
    plans.push(Plan {
        faults: common.collect(),
        events: arguments.combined_events,
        clock: Clock::Wrong,
        ..plain("combined")
    });
    let unknown = |name: &&String| !plans.iter().any(|plan| plan.name == **name);
    if let Some(name) = arguments.only.iter().find(unknown) {
        bail!("there is no run {name:?}; --list shows them");
    }
    if !arguments.only.is_empty() {
        plans.retain(|plan| arguments.only.contains(&plan.name));
    }
    Ok(plans)
}
