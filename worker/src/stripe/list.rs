//! Looking for an object that may have been made, in Stripe's lists.

use domain::ids::AccountId;
use serde_json::{Value, json};

use super::{
    call::{ApiFamily, Call},
    client::Client,
    error::ApiError,
};

/// Pages in which what an interrupted request may have made is looked for. What was made within
/// a day or two of it fits into some.
pub(super) const PAGES_OF_MADE: u32 = 50;
/// The objects of one page, which is the most that Stripe gives.
const PAGE: u32 = 100;
/// Stripe's ids have at most so many bytes.
const MAX_ID: usize = 255;

/// A list of objects by when they were made.
pub(super) struct List<'a> {
    /// The endpoint's name.
    pub(super) endpoint: &'static str,
    /// Its path behind the version.
    pub(super) path: &'a str,
    /// The connected account whose list it is; the platform's else.
    pub(super) account: Option<&'a AccountId>,
    /// How the ids of its objects begin.
    pub(super) prefix: &'static str,
    /// Of objects made at or after this time alone, in Unix seconds.
    pub(super) since: Option<i64>,
    /// Of objects with this status alone.
    pub(super) status: Option<&'static str>,
    /// The most pages of it that are read.
    pub(super) pages: u32,
}

/// A page of a list.
#[derive(Debug)]
pub struct Page {
    /// The objects with their ids, the newest first.
    pub objects: Vec<(String, Value)>,
    /// The id behind which the next page begins; `None` of the last page.
    pub next: Option<String>,
}

impl Client {
    /// The id of the newest object of the list that `is_it`. Nothing is taken for missing
    /// that was not seen to be: a page that cannot be read to its end is an error.
    ///
    /// # Errors
    /// [`ApiError`].
    pub(super) async fn find(
        &self,
        list: &List<'_>,
        is_it: impl Fn(&Value) -> bool,
    ) -> Result<Option<String>, ApiError> {
        Ok(self.find_some(list, is_it, 1).await?.pop())
    }

    /// The ids of the newest objects of the list that each `is_it`, at most so many of them. The
    /// list is read once, up to the last of them.
    ///
    /// # Errors
    /// As [`Client::find`].
    pub(super) async fn find_some(
        &self,
        list: &List<'_>,
        is_it: impl Fn(&Value) -> bool,
        most: usize,
    ) -> Result<Vec<String>, ApiError> {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        for _ in 0..list.pages {
            let page = self.page(list, after.as_deref()).await?;
            let fitting = page.objects.into_iter().filter(|(_, one)| is_it(one));
            found.extend(fitting.map(|(id, _)| id));
            if found.len() >= most || page.next.is_none() {
                found.truncate(most);
                return Ok(found);
            }
            after = page.next;
        }
        Err(ApiError::TooLong(list.endpoint))
    }

    /// The page of a list behind the object `after`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub(super) async fn page(
        &self,
        list: &List<'_>,
        after: Option<&str>,
    ) -> Result<Page, ApiError> {
        let mut query = json!({ "limit": PAGE });
        if let Some(since) = list.since {
            query["created"] = json!({ "gte": since });
        }
        if let Some(status) = list.status {
            query["status"] = status.into();
        }
        if let Some(after) = after {
            query["starting_after"] = after.into();
        }
        let call = Call::get(ApiFamily::V1, list.endpoint, list.path, &query);
        let call = match list.account {
            Some(account) => call.of_account(account),
            None => call,
        };
        let mut page = self.send(&call).await?;
        let Some(Value::Array(objects)) = page.get_mut("data").map(Value::take) else {
            return Err(ApiError::Unreadable("it is no list"));
        };
        let with_id = |object: Value| match object_id(&object, list.prefix) {
            Some(id) => Ok((id, object)),
            None => Err(ApiError::Unreadable("an object of a list has no id")),
        };
        let objects = objects.into_iter().map(with_id);
        let objects = objects.collect::<Result<Vec<_>, _>>()?;
        let next = match (page["has_more"] == true, objects.last()) {
            (false, _) => None,
            (true, Some((last, _))) => Some(last.clone()),
            (true, None) => return Err(ApiError::Unreadable("a page of a list is empty")),
        };
        Ok(Page { objects, next })
    }
}

/// The id of an object, where it is one of Stripe's that begins so.
pub(super) fn object_id(object: &Value, prefix: &str) -> Option<String> {
    let id = object["id"].as_str()?;
    is_id(id, prefix).then(|| id.to_owned())
}

/// Whether a text is an id of Stripe's that begins so. It becomes part of a path, and another
/// text would make another path.
pub(super) fn is_id(id: &str, prefix: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    id.starts_with(prefix) && id.len() <= MAX_ID && id.bytes().all(plain)
}
