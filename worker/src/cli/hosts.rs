//! `worker hosts`: how far the hosts' onboarding is, and whose accounts are.

mod adopt;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    context::Context,
    error::CliError,
    listing::{self, Listing, PageArgs},
    output::{or_empty, stamp, time},
};
use store::{
    Connection,
    operator_query::{self, Host},
};

#[derive(Debug, Subcommand)]
pub(super) enum Hosts {
    /// List the hosts, with what Stripe wants of them and until when
    #[command(after_help = "Examples:
  worker hosts list --status RESTRICTED
  worker hosts list --json --limit 100000 | jq 'select(.can_sell | not) | .host_id'")]
    List(List),
    /// Note an account as a host's that no command made
    #[command(
        after_help = "Commands use the account that a command made for the host. Of one from before \
there were commands they know no more than what its metadata say (hostId), which its holder may \
have written, and nothing at all where no event of it came: adopt accounts before the first \
host.onboard. It needs the variables of `worker run`, STRIPE_API_KEY among them.

--all reads all accounts of the platform, a hundred by each read, within the allowance for reads. \
Standard accounts are told and not adopted: their holders write their metadata. Compare them with \
what the main app knows, and adopt them by name.

Examples:
  worker hosts adopt --host 42 --account acct_1abc
  worker hosts adopt --all --dry-run    each connected account that alone names a host
  worker hosts adopt --all --yes"
    )]
    Adopt(adopt::Adopt),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only with this status
    #[arg(long, value_name = "STATUS", ignore_case = true, value_parser = ["UNKNOWN", "INCOMPLETE", "IN_REVIEW",
        "ENABLED", "RESTRICTED_SOON", "RESTRICTED", "PAUSED", "REJECTED", "DISCONNECTED"])]
    status: Option<String>,
    /// Begin behind this account: the last one of the page before
    #[arg(long, value_name = "ACCOUNT", default_value = "")]
    after: String,
    #[command(flatten)]
    page: PageArgs,
}

impl Hosts {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Adopt(adopt) => adopt.run(context).await,
        }
    }
}

impl List {
    async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let conn = context.connect().await?;
        let status = self.status.as_ref().map(|status| status.to_uppercase());
        let (hosts, after) = (Filter { status }, Some(self.after.clone()));
        listing::list(context, &conn, &hosts, after, self.page).await
    }
}

/// Hosts with one status, or all.
struct Filter {
    status: Option<String>,
}

impl Listing<8> for Filter {
    type Row = Host;
    type Cursor = String;
    const HEADING: [&'static str; 8] = [
        "ACCOUNT",
        "HOST",
        "STATUS",
        "CAN SELL",
        "REASON",
        "DUE",
        "DEADLINE",
        "LAST EVENT",
    ];

    async fn page(
        &self,
        conn: &Connection,
        after: Option<&String>,
        limit: i64,
    ) -> store::Result<Vec<Host>> {
        let after = after.map_or("", String::as_str);
        operator_query::hosts(conn, self.status.as_deref(), after, limit).await
    }

    fn cursor(&self, host: &Host) -> String {
        host.account.clone()
    }

    fn id(&self, account: &String) -> String {
        account.clone()
    }

    fn cells(&self, host: &Host) -> [String; 8] {
        let due = if !host.past_due.is_empty() {
            format!("overdue: {}", host.past_due.join(" "))
        } else if !host.currently_due.is_empty() {
            host.currently_due.join(" ")
        } else if !host.future_due.is_empty() {
            format!("later: {}", host.future_due.join(" "))
        } else {
            String::new()
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

    fn object(&self, host: &Host) -> serde_json::Value {
        json!({
            "account": host.account,
            "host_id": host.host_id,
            "status": host.status,
            "can_sell": host.can_sell,
            "disabled_reason": host.disabled_reason,
            "past_due": host.past_due,
            "currently_due": host.currently_due,
            "future_due": host.future_due,
            "deadline": host.deadline.map(|at| stamp(at.and_utc())),
            "last_event_at": stamp(host.last_event_at.and_utc()),
        })
    }
}
