//! Making a host's account, once.

use domain::rules::ATTEMPT_KEY;
use store::command::{self, Record, State};

use super::{
    account_maker::AccountMaker,
    account_request,
    known::{self, Known},
    onboard::Onboard,
};
use crate::{
    commands::{
        attempts::{self, Wanted},
        error::CommandError,
        service::CommandService,
    },
    jobs::read_accounts,
    stripe::{call::ApiFamily, client::Client},
};

impl CommandService {
    /// Makes the account of a host who has none.
    pub(super) async fn create(
        &self,
        client: &Client,
        onboard: &Onboard,
    ) -> Result<Known, CommandError> {
        let key = known::key(&onboard.host);
        let mut request = account_request::parameters(onboard, &self.settings)?;
        request["metadata"][ATTEMPT_KEY] = attempts::new_mark().into();
        // An account that was made, and yet the host has none: the host has left it.
        let over = {
            let conn = self.connection().await?;
            command::find(&conn, &key).await?
        };
        let over = over.filter(|record| record.state() == State::Done);
        let wanted = Wanted {
            key: &key,
            payload_hash: onboard.payload_hash(),
            family: self.settings.accounts_api.family(),
            account: None,
            request: &request,
            over: match &over {
                Some(record) => self.is_left(record).await?.then_some(record.attempt),
                None => None,
            },
            cancels: None,
        };
        let maker = AccountMaker {
            client,
            host: &onboard.host,
        };
        let record = self.make_once(&wanted, &maker).await?;
        let id = record.object_id.clone().unwrap_or_default().into();
        let conn = self.connection().await?;
        let account = read_accounts::load(&conn, &id).await?;
        Ok(Known {
            id,
            family: ApiFamily::of(&record.api),
            payload_hash: Some(record.payload_hash).filter(|hash| !hash.is_empty()),
            account,
        })
    }

    async fn is_left(&self, record: &Record) -> Result<bool, CommandError> {
        let Some(id) = &record.object_id else {
            return Ok(false);
        };
        let conn = self.connection().await?;
        let account = read_accounts::load(&conn, &id.clone().into()).await?;
        Ok(account.is_disconnected())
    }
}
