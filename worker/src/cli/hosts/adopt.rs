//! `worker hosts adopt`: notes accounts as their hosts' that no command made.

use clap::Args;
use domain::{account::Account, ids::AccountId};
use serde_json::json;
use store::{
    Connection,
    account::{self, NamedHost},
    command,
};

use crate::{
    cli::{
        confirm::ChangeArgs,
        context::{Context, OutputFormat},
        error::CliError,
        output::{Output, safe},
    },
    commands::host::known,
    jobs::read_accounts,
};

/// How many hosts are looked up at once.
const PAGE: i64 = 100;

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
    /// the host
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
        match (&self.host, &self.account) {
            (Some(host), Some(account)) => self.one(context, &conn, host, account).await,
            _ => self.all(context, &conn).await,
        }
    }

    /// Adopts the account that the operator names.
    async fn one(
        &self,
        context: &Context<'_>,
        conn: &Connection,
        host: &str,
        account: &str,
    ) -> Result<(), CliError> {
        let after = check(conn, host, account).await?;
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
        if !command::adopt(conn, &known::key(host), account, after).await? {
            let changed = "a command changed what is noted of the host; look again";
            return Err(CliError::NotFound(changed.into()));
        }
        print(&mut output, host, account, true)
    }

    /// Adopts what nobody can mistake, a page of hosts at a time.
    async fn all(&self, context: &Context<'_>, conn: &Connection) -> Result<(), CliError> {
        let mut output = self.form.output();
        if !self.change.dry_run {
            let question = "Note each connected account that alone names a host as that host's";
            self.change.confirm(question, &context.stop).await?;
        }
        let (mut after, mut adopted, mut left) = (String::new(), 0, 0);
        loop {
            let page = account::named_hosts(conn, &after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.host);
            for NamedHost { host, accounts } in page {
                context.check()?;
                let mut connected = Vec::new();
                for id in accounts {
                    if is_connected(conn, &id).await? {
                        connected.push(id);
                    }
                }
                match &*connected {
                    [] => {}
                    [account] => {
                        let is_done = !self.change.dry_run
                            && command::adopt(conn, &known::key(&host), account, None).await?;
                        print(&mut output, &host, account, is_done)?;
                        adopted += 1;
                    }
                    several => {
                        let (host, several) = (safe(&host), several.join(", "));
                        eprintln!("Host {host} is named by {several}: adopt one of them by name.");
                        left += 1;
                    }
                }
            }
        }
        let verb = if self.change.dry_run {
            "would be"
        } else {
            "were"
        };
        eprintln!("{adopted} accounts {verb} adopted; {left} hosts are named by several.");
        Ok(())
    }
}

/// Whether the account can be noted as the host's. Gives back the ended attempt that it takes the
/// place of.
async fn check(conn: &Connection, host: &str, account: &str) -> Result<Option<i32>, CliError> {
    let refuse = |why: String| Err(CliError::NotFound(why));
    let shown = safe(account);
    let known = read_accounts::load(conn, &AccountId::from(account.to_owned())).await?;
    if !known.is_known() || known.is_disconnected() {
        return refuse(format!(
            "{shown} is no connected account that is known here"
        ));
    }
    if host_of(&known) != Some(host) {
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

fn host_of(account: &Account) -> Option<&str> {
    account.winner()?.snapshot.host_id.as_deref()
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
