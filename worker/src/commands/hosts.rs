//! `worker hosts`: how far the hosts' onboarding is.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    context::{Context, Form},
    failed::Failed,
    output::{or_empty, safe, stamp, time},
};
use crate::store::overview::{self, Host};

/// The most rows held at once.
const PAGE: u64 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum Hosts {
    /// List the hosts, with what Stripe wants of them and until when
    #[command(after_help = "Examples:
  worker hosts list --status RESTRICTED
  worker hosts list --json --limit 100000 | jq 'select(.can_sell | not) | .host_id'")]
    List(List),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only with this status
    #[arg(long, value_name = "STATUS", ignore_case = true, value_parser = ["INCOMPLETE", "IN_REVIEW",
        "ENABLED", "RESTRICTED_SOON", "RESTRICTED", "PAUSED", "REJECTED", "DISCONNECTED"])]
    status: Option<String>,
    /// Print at most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u64,
    /// Begin behind this account: the last one of the page before
    #[arg(long, value_name = "ACCOUNT", default_value = "")]
    after: String,
    #[command(flatten)]
    form: Form,
}

impl Hosts {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), Failed> {
        match self {
            Self::List(list) => list.run(context).await,
        }
    }
}

impl List {
    async fn run(&self, context: &Context<'_>) -> Result<(), Failed> {
        let (conn, mut output) = (context.connect().await?, self.form.output());
        let status = self.status.as_ref().map(|status| status.to_uppercase());
        let (mut after, mut printed) = (self.after.clone(), 0);
        while printed < self.limit {
            context.check()?;
            let room = i64::try_from(PAGE.min(self.limit - printed)).unwrap_or(1);
            let page = overview::hosts(&conn, status.as_deref(), &after, room).await?;
            let Some(last) = page.last() else {
                break;
            };
            after.clone_from(&last.account);
            printed += u64::try_from(page.len()).unwrap_or(u64::MAX);
            if output.json {
                for host in &page {
                    output.object(&object(host))?;
                }
            } else {
                let heading = [
                    "ACCOUNT",
                    "HOST",
                    "STATUS",
                    "CAN SELL",
                    "REASON",
                    "DUE",
                    "DEADLINE",
                    "LAST EVENT",
                ];
                output.table(heading, page.iter().map(row))?;
            }
        }
        match printed {
            0 => eprintln!("There are none."),
            printed if printed == self.limit => {
                eprintln!("More may follow: --after {}", safe(&after));
            }
            _ => {}
        }
        Ok(())
    }
}

fn row(host: &Host) -> [String; 8] {
    let due = if host.past_due.is_empty() {
        host.currently_due.join(" ")
    } else {
        format!("overdue: {}", host.past_due.join(" "))
    };
    [
        host.account.clone(),
        or_empty(host.host_id.as_ref()),
        host.status.clone(),
        if host.can_sell { "yes" } else { "no" }.into(),
        or_empty(host.disabled_reason.as_ref()),
        due,
        host.deadline
            .map(|at| time(at.and_utc()))
            .unwrap_or_default(),
        time(host.last_event_at.and_utc()),
    ]
}

fn object(host: &Host) -> serde_json::Value {
    json!({
        "account": host.account,
        "host_id": host.host_id,
        "status": host.status,
        "can_sell": host.can_sell,
        "disabled_reason": host.disabled_reason,
        "past_due": host.past_due,
        "currently_due": host.currently_due,
        "deadline": host.deadline.map(|at| stamp(at.and_utc())),
        "last_event_at": stamp(host.last_event_at.and_utc()),
    })
}
