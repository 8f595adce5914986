//! `worker dead-letters`: what could not be applied.

mod list;
mod select;
mod show;

use clap::{Args, Subcommand};
use diesel_async::AsyncConnection;

use self::select::Select;
use super::{
    confirm::confirm,
    context::{Context, Form},
    failed::Failed,
    replay::{self, Sending},
};
use crate::{
    replay::{What, recover},
    store::{
        dead_letter::{self, DEAD},
        page::Order,
        transaction,
    },
};

/// The most that is given up in one transaction.
const BATCH: i64 = 200;

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetters {
    /// List them, newest first
    #[command(after_help = "Examples:
  worker dead-letters list
  worker dead-letters list --reason booking_claimed_by_other_account --since 2d
  worker dead-letters list --state any --type 'invoice.*' --json | jq .id
  worker dead-letters list --after evt_1abc        the page behind that one")]
    List(list::List),
    /// Show one: why it is dead, its history and its headers
    #[command(after_help = "Examples:
  worker dead-letters show evt_1abc
  worker dead-letters show evt_1abc --body | jq .data.object

The body holds personal data: names, e-mail addresses, amounts.")]
    Show(show::Show),
    /// Send them again, after the cause is put right
    #[command(
        after_help = "Each is published with its exact bytes and properties to the exchange that \
events come by, and is judged by the worker as if it came for the first time. An event that was \
applied meanwhile is not applied twice. One that fails again is the same dead letter, with one \
more attempt.

Examples:
  worker dead-letters replay evt_1abc --follow
  worker dead-letters replay --reason unknown_status --since 1d --dry-run
  worker dead-letters replay --reason unknown_status --since 1d --rate 100 --yes
  worker dead-letters replay --state replayed --until 1h    sent, but never judged"
    )]
    Replay(Replay),
    /// Give them up: they are kept, and listed with --state discarded
    #[command(after_help = "Examples:
  worker dead-letters discard evt_1abc
  worker dead-letters discard --type 'invoice.*' --reason invalid_booking_id --dry-run")]
    Discard(Discard),
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    sending: Sending,
}

#[derive(Debug, Args)]
pub(super) struct Discard {
    #[command(flatten)]
    select: Select,
    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Give up at most so many
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Who does it, for the record [default: $USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    form: Form,
}

impl DeadLetters {
    pub(super) async fn run(&self, context: &Context<'_>) -> Result<(), Failed> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Show(show) => show.run(context).await,
            Self::Replay(replay) => replay.run(context).await,
            Self::Discard(discard) => discard.run(context).await,
        }
    }
}

impl Replay {
    async fn run(&self, context: &Context<'_>) -> Result<(), Failed> {
        let filter = self.select.filter(DEAD)?;
        let mut conn = context.connect().await?;
        if !self.sending.dry_run {
            recover(&mut conn).await?;
        }
        self.select.check_ids(&conn).await?;
        let matching = dead_letter::count(&conn, &filter).await?;
        let count = self.sending.limited(matching);
        if self.sending.dry_run {
            list::print(
                context,
                &conn,
                &filter,
                Order::OldestFirst,
                count,
                self.sending.form,
            )
            .await?;
            return self.sending.told("dead letters would be replayed", count);
        }
        if count == 0 {
            return self.sending.told("dead letters to replay", 0);
        }
        let question = format!("Replay {count} dead letters");
        confirm(&question, self.sending.yes, &context.stop).await?;
        replay::run(
            context,
            conn,
            &self.sending,
            What::DeadLetters(filter),
            count,
        )
        .await
    }
}

impl Discard {
    async fn run(&self, context: &Context<'_>) -> Result<(), Failed> {
        let filter = self.select.filter(DEAD)?;
        if filter.state != Some(DEAD) {
            return Err(Failed::Usage(
                "only dead letters in the state dead can be discarded".into(),
            ));
        }
        let mut conn = context.connect().await?;
        self.select.check_ids(&conn).await?;
        let matching = u64::try_from(dead_letter::count(&conn, &filter).await?).unwrap_or(0);
        let count = self.limit.map_or(matching, |limit| limit.min(matching));
        let mut output = self.form.output();
        if self.dry_run {
            list::print(
                context,
                &conn,
                &filter,
                Order::OldestFirst,
                count,
                self.form,
            )
            .await?;
            eprintln!("{count} dead letters would be discarded. Nothing was changed.");
            return Ok(());
        }
        if count > 0 {
            let question = format!("Discard {count} dead letters");
            confirm(&question, self.yes, &context.stop).await?;
        }
        let (by, mut left, mut after) = (context.by(self.by.as_ref())?, count, None);
        while left > 0 {
            context.check()?;
            let limit = BATCH.min(i64::try_from(left).unwrap_or(BATCH));
            let order = Order::OldestFirst;
            let page = dead_letter::page(&conn, &filter, order, after.as_ref(), limit).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.cursor());
            let ids: Vec<String> = page.into_iter().map(|letter| letter.id).collect();
            let discard = async |conn: &mut diesel_async::AsyncPgConnection| {
                transaction::take_turn(conn).await?;
                dead_letter::discard(conn, &ids, &by).await
            };
            for id in conn.transaction(discard).await? {
                left -= 1;
                if output.json {
                    output.object(&serde_json::json!({ "id": id, "state": "discarded" }))?;
                }
            }
        }
        eprintln!("{} dead letters discarded.", count - left);
        Ok(())
    }
}
