//! `worker hosts adopt --all`: the accounts of which nobody can doubt whose they are.

use std::collections::{BTreeMap, BTreeSet};

use domain::ids::AccountId;
use serde_json::Value;
use store::{
    Connection,
    account::{self, NamedHost},
    api_read, command,
};

use super::{Adopt, is_connected, print};
use crate::{
    cli::{
        context::Context,
        error::CliError,
        output::{Output, safe},
        stripe::{self, Stripe},
    },
    commands::host::known,
    jobs::read_accounts::{self, ReadAccount},
    stripe::{accounts, error::ApiError},
};

/// How many hosts are looked up at once.
const PAGE: i64 = 100;
/// The most pages of Stripe's list that are read, of a hundred accounts each. Of an unfinished
/// list nobody can say that an account alone names its host.
const MOST_PAGES: u32 = 1000;

/// An account that names a host.
struct Naming {
    account: String,
    /// Whether its holder can have written the name.
    is_doubtful: bool,
}

/// What Stripe says of the platform's accounts.
#[derive(Default)]
struct Listed {
    /// All that were read.
    accounts: BTreeSet<String>,
    hosts: BTreeMap<String, Vec<Naming>>,
    reads: u32,
}

impl Adopt {
    /// Adopts what nobody can mistake, once all accounts are known.
    pub(super) async fn all(
        &self,
        context: &Context<'_>,
        stripe: &Stripe,
        conn: &Connection,
    ) -> Result<(), CliError> {
        let mut output = self.form.output();
        if !self.change.dry_run {
            let question = "Read all connected accounts from Stripe, and note each one that alone \
                names a host as that host's";
            self.change.confirm(question, &context.stop).await?;
        }
        let mut listed = self.list(context, stripe, conn).await?;
        unlisted(context, stripe, conn, &mut listed).await?;
        let (mut adopted, mut left) = (0, 0);
        for (host, naming) in &listed.hosts {
            context.check()?;
            match self.host(conn, &mut output, host, naming).await? {
                Of::Account => adopted += 1,
                Of::Doubt => left += 1,
                Of::Nothing => {}
            }
        }
        let verb = if self.change.dry_run {
            "would be"
        } else {
            "were"
        };
        eprintln!(
            "{adopted} accounts {verb} adopted; {left} hosts are left to be adopted by name."
        );
        let (accounts, reads) = (listed.accounts.len(), listed.reads);
        let room = api_read::reads(conn).await?.room();
        eprintln!(
            "{accounts} accounts were read by {reads} reads of Stripe's API; its allowance of 30 \
             days has {room} left beside those for commands."
        );
        Ok(())
    }

    /// Reads Stripe's list to its end. What it says of accounts of which nothing was known is
    /// kept, so that the main app has rows of them.
    async fn list(
        &self,
        context: &Context<'_>,
        stripe: &Stripe,
        conn: &Connection,
    ) -> Result<Listed, CliError> {
        let (mut listed, mut after) = (Listed::default(), None);
        while listed.reads < MOST_PAGES {
            context.check()?;
            let _room = stripe.room(conn).await?;
            let page = stripe.client.accounts(after.as_deref()).await;
            let page = page.map_err(|error| stripe::api_failed(&error))?;
            listed.reads += 1;
            let mut unknown = Vec::new();
            for (id, object) in page.objects {
                let account = AccountId::from(id);
                let Some(read) = listed.take(&account, &object) else {
                    continue;
                };
                if !read_accounts::load(conn, &account).await?.is_known() {
                    unknown.push(read);
                }
            }
            if !self.change.dry_run {
                read_accounts::keep(&stripe.pool, &unknown, stripe.outbox).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(listed);
            }
        }
        Err(CliError::Stripe(format!(
            "Stripe's list has more than {MOST_PAGES} pages of accounts: adopt them by name"
        )))
    }

    /// Adopts the one account that names a host.
    async fn host(
        &self,
        conn: &Connection,
        output: &mut Output,
        host: &str,
        naming: &[Naming],
    ) -> Result<Of, CliError> {
        let key = known::key(host);
        if command::find(conn, &key).await?.is_some() {
            return Ok(Of::Nothing);
        }
        let mut free = Vec::new();
        for one in naming {
            let id = AccountId::from(one.account.clone());
            let is_cut = read_accounts::load(conn, &id).await?.is_disconnected();
            // One that is noted for another host stays that host's, whatever it says.
            if !is_cut && command::key_of(conn, &one.account).await?.is_none() {
                free.push(one);
            }
        }
        match &*free {
            [] => Ok(Of::Nothing),
            [one] if !one.is_doubtful => {
                let account = &one.account;
                let is_done =
                    !self.change.dry_run && command::adopt(conn, &key, account, None).await?;
                print(output, host, account, is_done)?;
                Ok(Of::Account)
            }
            [one] => {
                let (host, account) = (safe(host), safe(&one.account));
                eprintln!(
                    "Host {host} is named by {account}, whose holder can have written that: adopt \
                     it by name if it is the host's."
                );
                Ok(Of::Doubt)
            }
            several => {
                let accounts: Vec<String> = several.iter().map(|one| safe(&one.account)).collect();
                let (host, accounts) = (safe(host), accounts.join(", "));
                eprintln!("Host {host} is named by {accounts}: adopt one of them by name.");
                Ok(Of::Doubt)
            }
        }
    }
}

/// What came of a host.
enum Of {
    /// It has an account now.
    Account,
    /// An operator has to say which it is.
    Doubt,
    /// No account is to be adopted for it.
    Nothing,
}

impl Listed {
    /// Takes an account as Stripe answers it; `None` of one that cannot be kept.
    fn take(&mut self, id: &AccountId, object: &Value) -> Option<ReadAccount> {
        let _ = self.accounts.insert(id.to_string());
        match accounts::snapshot(id, object) {
            Ok(snapshot) => {
                if let Some(host) = snapshot.host_id.clone() {
                    self.hosts.entry(host).or_default().push(Naming {
                        account: id.to_string(),
                        is_doubtful: accounts::is_written_by_holder(object),
                    });
                }
                Some(ReadAccount::of_unknown(id.clone(), snapshot))
            }
            Err(error) => {
                eprintln!("{}: {error}", safe(id.as_str()));
                None
            }
        }
    }
}

/// Reads the accounts that events told of, that name a host of which no command knows, and that
/// Stripe's list does not have.
async fn unlisted(
    context: &Context<'_>,
    stripe: &Stripe,
    conn: &Connection,
    listed: &mut Listed,
) -> Result<(), CliError> {
    let mut after = String::new();
    loop {
        let page = account::named_hosts(conn, &after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after.clone_from(&last.host);
        for id in page
            .into_iter()
            .flat_map(|NamedHost { accounts, .. }| accounts)
        {
            context.check()?;
            if listed.accounts.contains(&id) || !is_connected(conn, &id).await? {
                continue;
            }
            let _room = stripe.room(conn).await?;
            let id = AccountId::from(id);
            listed.reads += 1;
            match stripe.client.account_object(&id).await {
                Ok(object) => {
                    let _known = listed.take(&id, &object);
                }
                // It has left, and no event said so.
                Err(ApiError::Refused(refusal)) if stripe::is_not_ours(&refusal) => {}
                Err(error) => return Err(stripe::api_failed(&error)),
            }
        }
    }
}
