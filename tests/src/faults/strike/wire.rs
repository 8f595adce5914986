//! What is between the services and their servers is slow, silent or torn.

use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use tokio::time::sleep;

use super::super::{fault::Fault, stage::Stage};
use crate::proxy::Proxy;

/// How late a slow wire is, each way.
const LATE: Duration = Duration::from_millis(40);
/// How long a wire is slow.
const SLOW: Duration = Duration::from_secs(4);
/// How long a wire is silent: longer than `ingest` waits for a confirm.
const SILENT: Duration = Duration::from_secs(8);
/// How long an answer is held back before it is lost: enough for what it answers
/// to be done.
const HELD: Duration = Duration::from_millis(300);

pub(in super::super) async fn strike(fault: Fault, stage: &Stage, rng: &mut Rng) -> Result<()> {
    let wires = [&stage.intake_wire, &stage.worker_wire, &stage.database_wire];
    let one = wires[rng.usize(..wires.len())];
    match fault {
        Fault::Latency => {
            wires.iter().for_each(|wire| wire.slow(LATE));
            sleep(SLOW).await;
            wires.iter().for_each(|wire| wire.restore());
        }
        Fault::HalfOpen => {
            one.stall();
            sleep(SILENT).await;
            // The other ends were given up, or come back to life.
            if rng.bool() {
                one.cut();
            }
            one.restore();
        }
        Fault::MidFrame => {
            one.sever();
            sleep(HELD).await;
            one.restore();
        }
        Fault::ConfirmLost => lose(&stage.intake_wire, false).await,
        Fault::AckLost => lose(&stage.worker_wire, true).await,
        _ => lose(&stage.database_wire, false).await,
    }
    Ok(())
}

/// Holds back what the client says, or what it is answered, and then loses it
/// with its connection.
async fn lose(wire: &Proxy, of_client: bool) {
    if of_client {
        wire.stall_client();
    } else {
        wire.stall_server();
    }
    sleep(HELD).await;
    wire.cut();
    wire.restore();
}
