//! `stripe.account_transition`: the history of a host's status.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Bool, Nullable, Text, Timestamptz};
use domain::{decode::moment, history::AccountTransition};

use crate::{
    Result, WriteTx,
    record::{Upsert, record},
};

record! {
    /// A row of `stripe.account_transition`.
    struct Row in "stripe.account_transition" {
        key {
            account: String => Text = "account_id",
            event_created: DateTime<Utc> => Timestamptz = "event_created",
            event_id: String => Text = "event_id",
        }
        change: &'static str => Text = "change",
        status: Option<&'static str> => Nullable<Text> = "status",
        can_sell: Option<bool> => Nullable<Bool> = "can_sell",
        disabled_reason: Option<String> => Nullable<Text> = "disabled_reason",
        deadline: Option<DateTime<Utc>> => Nullable<Timestamptz> = "current_deadline",
    }
    on update ""
}

/// Adds transitions. One of an event that is decided again is written anew, because the
/// rule may have been mended since.
pub async fn write(tx: &WriteTx<'_>, transitions: &[AccountTransition]) -> Result<()> {
    let rows = transitions.iter().map(|transition| Row {
        account: transition.account.to_string(),
        event_created: moment(transition.event_created),
        event_id: transition.event_id.clone(),
        change: transition.change.as_str(),
        status: transition.status.map(|status| status.as_str()),
        can_sell: transition.can_sell,
        disabled_reason: transition.disabled_reason.clone(),
        deadline: transition.deadline.map(moment),
    });
    let rows: Vec<Row> = rows.collect();
    Upsert::rows(tx, &rows).await?;
    Ok(())
}
