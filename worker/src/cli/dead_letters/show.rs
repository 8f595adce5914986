//! `worker dead-letters show`.

use clap::Args;
use serde_json::{Value, json};
use store::{
    dead_letter_query::{self, Letter},
    event_query,
};

use crate::{
    amqp::properties_json,
    cli::{
        context::{Context, OutputFormat},
        error::CliError,
        events::replays,
        output::{or_empty, safe, stamp, time},
    },
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// The dead letter's id, as listed
    #[arg(value_name = "ID")]
    id: String,
    /// Print its exact bytes, and nothing else: they hold personal data
    #[arg(long)]
    body: bool,
    #[command(flatten)]
    form: OutputFormat,
}

impl Show {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let conn = context.connect().await?;
        let letter = dead_letter_query::load(&conn, std::slice::from_ref(&self.id)).await?;
        let Some(letter) = letter.into_iter().next() else {
            let why = format!("there is no dead letter {}", safe(&self.id));
            return Err(CliError::NotFound(why));
        };
        let mut output = self.form.output();
        if self.body {
            output.raw(&letter.body)?;
            return Ok(());
        }
        let history = event_query::replays(&conn, &letter.id).await?;
        if self.form.json {
            let mut object = object(&letter);
            object["replays"] = history.iter().map(replays::object).collect();
            output.object(&object)?;
            return Ok(());
        }
        output.card(&card(&letter))?;
        output.line("\nHeaders")?;
        let headers = properties_json::headers_for_people(&letter.properties);
        output.table(
            ["NAME", "VALUE"],
            headers.into_iter().map(|(name, value)| [name, value]),
        )?;
        replays::print(&mut output, &history)?;
        Ok(())
    }
}

fn card(letter: &Letter) -> Vec<(&'static str, String)> {
    let mode = letter
        .livemode
        .map_or("", |live| if live { "live" } else { "test" });
    vec![
        ("Dead letter", letter.id.clone()),
        ("Event", or_empty(letter.event_id.as_ref())),
        ("State", letter.state.clone()),
        ("Reason", letter.reason.clone()),
        ("Why", letter.detail.clone()),
        ("Given up by", letter.origin.clone()),
        ("First dead", time(letter.first_at)),
        ("Last dead", time(letter.last_at)),
        ("Tries", letter.attempts.to_string()),
        ("Type", or_empty(letter.event_type.as_ref())),
        ("Account", or_empty(letter.account.as_ref())),
        ("API version", or_empty(letter.api_version.as_ref())),
        ("Mode", mode.to_owned()),
        ("Happened", letter.created.map(time).unwrap_or_default()),
        ("Routing key", letter.routing_key.clone()),
        (
            "Body",
            format!("{} bytes; --body prints them", letter.body.len()),
        ),
        (
            "Changed",
            format!("{} by {}", time(letter.changed_at), letter.changed_by),
        ),
        (
            "Replay",
            letter
                .replay_id
                .map(|id| id.to_string())
                .unwrap_or_default(),
        ),
    ]
}

fn object(letter: &Letter) -> Value {
    json!({
        "id": letter.id,
        "event_id": letter.event_id,
        "state": letter.state,
        "reason": letter.reason,
        "detail": letter.detail,
        "origin": letter.origin,
        "first_at": stamp(letter.first_at),
        "last_at": stamp(letter.last_at),
        "attempts": letter.attempts,
        "type": letter.event_type,
        "account": letter.account,
        "api_version": letter.api_version,
        "livemode": letter.livemode,
        "created": letter.created.map(stamp),
        "routing_key": letter.routing_key,
        "body_bytes": letter.body.len(),
        "properties": letter.properties,
        "changed_at": stamp(letter.changed_at),
        "changed_by": letter.changed_by,
        "replay_id": letter.replay_id,
    })
}
