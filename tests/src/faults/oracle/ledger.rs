//! What the ledger, the kept bytes and the dead letters must say.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use tokio_postgres::Client;

use super::{Findings, expected::Expected};
use crate::faults::world::{Tale, World};

/// A row of the ledger.
struct Row {
    outcome: String,
    reason: Option<String>,
    attempts: i32,
}

/// Every event has its one row, with the true outcome; what is dead is in the
/// dead letters, and the bytes of the rest are kept once.
pub(super) async fn examine(
    client: &Client,
    world: &World,
    expected: &Expected,
    findings: &mut Findings,
) -> Result<()> {
    let query = "SELECT id, outcome, reason, attempts FROM stripe.event";
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for row in client.query(query, &[]).await? {
        let entry = Row {
            outcome: row.get(1),
            reason: row.get(2),
            attempts: row.get(3),
        };
        rows.insert(row.get(0), entry);
    }
    let dead: BTreeSet<String> = rows
        .iter()
        .filter(|(_, row)| row.outcome == "dead")
        .map(|(id, _)| id.clone())
        .collect();
    let mut kept: BTreeSet<String> = BTreeSet::new();
    for tale in &world.tales {
        let id = tale.id();
        match (rows.remove(id), matches!(tale, Tale::Unwanted { .. })) {
            (None, true) => {}
            (Some(_), true) => findings.wrong(format!("{id} is not for us, but in the ledger")),
            (None, false) => findings.lost(format!("{id} is not in the ledger: {tale:?}")),
            (Some(row), false) => {
                // What is dead for its claim alone may be accepted after all.
                let is_refused = matches!(tale, Tale::Object(said) if expected.is_refused(said));
                if row.outcome != "dead" || is_refused {
                    kept.insert(id.to_owned());
                }
                judge(tale, &row, expected, findings);
            }
        }
    }
    for id in rows.keys() {
        findings.wrong(format!("{id} was never sent, but is in the ledger"));
    }
    let query = "SELECT unnest(event_ids) FROM stripe.event_archive";
    findings.compare("kept bytes", &kept, &column(client, query).await?);
    // A delivery limit that was reached is an event without an effect.
    let query = "SELECT id FROM stripe.dead_letter WHERE state <> 'resolved' AND origin = 'worker'";
    findings.compare("dead letters", &dead, &column(client, query).await?);
    let query = "SELECT id || ' ' || origin FROM stripe.dead_letter WHERE origin <> 'worker'";
    findings.compare(
        "given up by the broker",
        &BTreeSet::new(),
        &column(client, query).await?,
    );
    Ok(())
}

/// The texts of a query's first column.
pub(super) async fn column(client: &Client, query: &str) -> Result<Vec<String>> {
    let rows = client.query(query, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn judge(tale: &Tale, row: &Row, expected: &Expected, findings: &mut Findings) {
    let reason = row.reason.as_deref();
    let is_settled = ["applied", "stale"].contains(&row.outcome.as_str());
    let is_true = match tale {
        Tale::Object(said) if expected.is_refused(said) => {
            row.outcome == "dead" && reason == Some("booking_claimed_by_other_account")
        }
        Tale::Object(_) | Tale::Account { .. } => is_settled,
        Tale::Flawed { flaw, .. } => row.outcome == "dead" && reason == Some(flaw.reason()),
        Tale::Unwanted { .. } => false,
    };
    if !is_true {
        let Row { outcome, .. } = row;
        findings.wrong(format!("the ledger says {outcome} {reason:?} of {tale:?}"));
    }
    // Only what was dead is judged again.
    let may_be_dead = matches!(tale, Tale::Flawed { .. })
        || matches!(tale, Tale::Object(said) if expected.is_contested(said));
    if row.attempts > 1 && !may_be_dead {
        findings.doubled(format!("{} was judged {} times", tale.id(), row.attempts));
    }
}
