//! `worker events show`.

use clap::Args;
use serde_json::{Value, json};
use store::{
    archive, dead_letter_query,
    event_query::{self, Row},
    invoice_query, operator_query,
};

use super::replays;
use crate::cli::{
    context::{Context, OutputFormat},
    error::CliError,
    invoices,
    output::{or_empty, safe, stamp, time},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// The event's id
    #[arg(value_name = "EVENT_ID")]
    id: String,
    #[command(flatten)]
    form: OutputFormat,
}

impl Show {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let conn = context.connect().await?;
        let Some(event) = event_query::find(&conn, &self.id).await? else {
            return Err(CliError::NotFound(format!(
                "the worker has not seen {}: it was not delivered, waits in the queue, is of a \
                 type that nobody asked for, or is older than the ledger",
                safe(&self.id)
            )));
        };
        let letters = dead_letter_query::known(&conn, std::slice::from_ref(&self.id)).await?;
        let letter = letters.get(&self.id);
        let archived = archive::stored_at(&conn, &self.id).await?;
        let waiting = operator_query::waiting_for(&conn, &event).await?;
        let invoice = invoice_query::of_event(&conn, &event).await?;
        let history = event_query::replays(&conn, &self.id).await?;
        let mut output = self.form.output();
        if self.form.json {
            let mut object = object(&event);
            object["dead_letter"] = json!(letter);
            object["archived_since"] = json!(archived.map(stamp));
            object["waiting_for"] = json!(waiting);
            object["invoice"] = json!(invoice.as_ref().map(invoices::object));
            object["replays"] = history.iter().map(replays::object).collect();
            output.object(&object)?;
            return Ok(());
        }
        let mut card = card(&event);
        card.push(("Dead letter", or_empty(letter)));
        let bytes = archived.map(|at| format!("archived since {}", time(at)));
        card.push(("Bytes", bytes.unwrap_or_else(|| "not archived".into())));
        card.push(("Waits for", or_empty(waiting.as_ref())));
        if let Some(invoice) = &invoice {
            card.push(("Invoice", invoice.id.clone()));
            card.extend(invoices::fields(invoice));
        }
        output.card(&card)?;
        replays::print(&mut output, &history)?;
        Ok(())
    }
}

fn card(event: &Row) -> Vec<(&'static str, String)> {
    let mode = event
        .livemode
        .map_or("", |live| if live { "live" } else { "test" });
    vec![
        ("Event", event.id.clone()),
        ("Type", event.event_type.clone()),
        ("Outcome", event.outcome.clone()),
        ("Reason", or_empty(event.reason.as_ref())),
        ("Object", or_empty(event.object_id.as_ref())),
        ("Account", or_empty(event.account.as_ref())),
        ("Mode", mode.to_owned()),
        ("API version", or_empty(event.api_version.as_ref())),
        ("Happened", time(event.created)),
        ("Received", event.received_at.map(time).unwrap_or_default()),
        ("First decided", time(event.first_seen_at)),
        ("Last decided", time(event.processed_at)),
        ("Tries", event.attempts.to_string()),
        ("Source", event.source.clone()),
        ("Trace", or_empty(event.trace_id.as_ref())),
    ]
}

/// A row of the ledger for programs.
pub(super) fn object(event: &Row) -> Value {
    json!({
        "id": event.id,
        "type": event.event_type,
        "account": event.account,
        "outcome": event.outcome,
        "reason": event.reason,
        "object_id": event.object_id,
        "livemode": event.livemode,
        "api_version": event.api_version,
        "created": stamp(event.created),
        "received_at": event.received_at.map(stamp),
        "first_seen_at": stamp(event.first_seen_at),
        "processed_at": stamp(event.processed_at),
        "attempts": event.attempts,
        "source": event.source,
        "trace_id": event.trace_id,
    })
}
