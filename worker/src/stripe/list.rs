//! Looking for an object that may have been made, in Stripe's lists.

use domain::ids::AccountId;
use serde_json::{Value, json};

use super::{
    call::{ApiFamily, Call},
    client::Client,
    error::ApiError,
};

/// Pages that are looked through. What was made within a day or two of an interrupted
/// request fits into some.
const MAX_PAGES: u32 = 50;
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
        let mut after: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let page = self.page(list, after.as_deref()).await?;
            let mut objects = page.objects.into_iter();
            if let Some((id, _)) = objects.find(|(_, object)| is_it(object)) {
                return Ok(Some(id));
            }
            if page.next.is_none() {
                return Ok(None);
            }
            after = page.next;
        }
        Err(ApiError::Unreadable("the list does not end"))
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
        let mut query = json!({ "limit": 100 });
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
        let Value::Array(objects) = page["data"].take() else {
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
