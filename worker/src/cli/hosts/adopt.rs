//! `worker hosts adopt`: notes accounts as their hosts' that no command made.

mod all;

use clap::Args;
use domain::ids::AccountId;
use serde_json::json;
use store::{Connection, command};

use crate::{
    cli::{
        confirm::ChangeArgs,
        context::{Context, OutputFormat},
        error::CliError,
        output::{Output, safe},
        stripe::{self, Stripe},
    },
    commands::host::known,
    jobs::read_accounts::{self, ReadAccount, ReadError},
    stripe::{accounts::ReadError as AccountError, error::ApiError},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Adopt {
    /// The host's id in the main app
    #[arg(
        long,
        value_name = "HOST",
        requires = "account",
        conflicts_with = "all",
        required_unless_present = "all"
    )]
    host: Option<String>,
    /// The host's account
    #[arg(long, value_name = "ACCOUNT", requires = "host")]
    account: Option<String>,
    /// All connected accounts that are the only one to name their host, where no command knows
    /// the host; not those whose holder can write the name (Standard)
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    form: OutputFormat,
}

impl Adopt {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), CliError> {
        let conn = context.connect().await?;
        let stripe = Stripe::new(context, &conn).await?;
        match (&self.host, &self.account) {
            (Some(host), Some(account)) => self.one(context, &stripe, &conn, host, account).await,
            _ => self.all(context, &stripe, &conn).await,
        }
    }

    /// Adopts the account that the operator names.
    async fn one(
        &self,
        context: &Context<'_>,
        stripe: &Stripe,
        conn: &Connection,
        host: &str,
        account: &str,
    ) -> Result<(), CliError> {
        let read = read(stripe, account).await?;
        let after = check(conn, host, account, &read).await?;
        let mut output = self.form.output();
        if self.change.dry_run {
            return print(&mut output, host, account, false);
        }
        let question = format!(
            "Note {} as the account of host {}",
            safe(account),
            safe(host)
        );
        self.change.confirm(&question, &context.stop).await?;
        // The main app has a row of it then, also where no event of it ever came.
        read_accounts::keep(&stripe.pool, &[read], stripe.outbox).await?;
        if !command::adopt(conn, &known::key(host), account, after).await? {
            let changed = "a command changed what is noted of the host; look again";
            return Err(CliError::NotFound(changed.into()));
        }
        print(&mut output, host, account, true)
    }
}

/// Reads a connected account from Stripe.
async fn read(stripe: &Stripe, account: &str) -> Result<ReadAccount, CliError> {
    let id = AccountId::from(account.to_owned());
    let read = read_accounts::ask(&stripe.pool, &stripe.client, &id).await;
    read.map_err(|error| match error {
        ReadError::Client(AccountError::Api(ApiError::Refused(refusal)))
            if stripe::is_not_ours(&refusal) =>
        {
            not_connected(account)
        }
        error => stripe::failed(error),
    })
}

fn not_connected(account: &str) -> CliError {
    let shown = safe(account);
    CliError::NotFound(format!("{shown} is no connected account of the platform"))
}

/// Whether the account can be noted as the host's. Returns the ended attempt that it takes the
/// place of.
async fn check(
    conn: &Connection,
    host: &str,
    account: &str,
    read: &ReadAccount,
) -> Result<Option<i32>, CliError> {
    let refuse = |why: String| Err(CliError::NotFound(why));
    let shown = safe(account);
    if read.known().is_disconnected() {
        return Err(not_connected(account));
    }
    if read.snapshot().host_id.as_deref() != Some(host) {
        return refuse(format!(
            "{shown} does not name the host: set its metadata hostId at Stripe, so that \
             \"HostOnboarding\" shows whose it is"
        ));
    }
    let key = known::key(host);
    if let Some(other) = command::key_of(conn, account).await?
        && other != key
    {
        return refuse(format!("{shown} is noted already, as {}", safe(&other)));
    }
    let Some(record) = command::find(conn, &key).await? else {
        return Ok(None);
    };
    match (record.state(), &record.object_id) {
        (command::State::InProgress, _) => {
            refuse("an account is being made for the host; wait until that has ended".into())
        }
        (_, Some(id)) if is_connected(conn, id).await? => {
            refuse(format!("the host has the account {}", safe(id)))
        }
        _ => Ok(Some(record.attempt)),
    }
}

async fn is_connected(conn: &Connection, account: &str) -> store::Result<bool> {
    let account = read_accounts::load(conn, &AccountId::from(account.to_owned())).await?;
    Ok(account.is_known() && !account.is_disconnected())
}

fn print(output: &mut Output, host: &str, account: &str, adopted: bool) -> Result<(), CliError> {
    if output.json {
        let object = json!({ "host_id": host, "account": account, "adopted": adopted });
        return Ok(output.object(&object)?);
    }
    let verb = if adopted { "is" } else { "would be" };
    let (host, account) = (safe(host), safe(account));
    Ok(output.line(&format!(
        "{account} {verb} noted as the account of host {host}."
    ))?)
}
