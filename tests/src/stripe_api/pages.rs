//! Pages of lists.

use serde_json::{Value, json};

use super::{errors::ApiError, routes::Work};

/// Items of a page where the request does not say.
const DEFAULT: usize = 10;
/// The most items of a page.
const MOST: usize = 100;

/// A page of the first version: `objects` are all that the request asks for, the
/// newest first.
pub(super) fn v1(work: &Work<'_>, objects: Vec<Value>) -> Result<Value, ApiError> {
    let limit = limit(work)?;
    let place = |name: &str| -> Result<Option<usize>, ApiError> {
        let Some(id) = work.text(name) else {
            return Ok(None);
        };
        let at = objects.iter().position(|object| object["id"] == *id);
        at.map(Some)
            .ok_or_else(|| ApiError::no_such_param("object", id, name))
    };
    let all = objects.len();
    let (from, to, has_more) = if let Some(before) = place("ending_before")? {
        let from = before.saturating_sub(limit);
        (from, before, from > 0)
    } else {
        let from = place("starting_after")?.map_or(0, |after| after + 1);
        let to = all.min(from + limit);
        (from, to, to < all)
    };
    let data = &objects[from..to];
    Ok(json!({ "object": "list", "data": data, "has_more": has_more, "url": work.path }))
}

/// A page of the second version, which holds the addresses of its neighbours.
pub(super) fn v2(work: &Work<'_>, objects: Vec<Value>) -> Result<Value, ApiError> {
    let limit = limit(work)?;
    let page = work.text("page").unwrap_or("page_0");
    let from: usize = page
        .strip_prefix("page_")
        .and_then(|from| from.parse().ok())
        .ok_or_else(|| ApiError::invalid("Invalid page token.").param("page"))?;
    let from = from.min(objects.len());
    let to = objects.len().min(from + limit);
    let address = |from: usize| format!("{}?limit={limit}&page=page_{from}", work.path);
    Ok(json!({
        "data": &objects[from..to],
        "next_page_url": (to < objects.len()).then(|| address(to)),
        "previous_page_url": (from > 0).then(|| address(from.saturating_sub(limit))),
    }))
}

fn limit(work: &Work<'_>) -> Result<usize, ApiError> {
    let Some(limit) = work.params.get("limit") else {
        return Ok(DEFAULT);
    };
    let limit = limit.as_u64().and_then(|limit| usize::try_from(limit).ok());
    limit
        .filter(|limit| (1..=MOST).contains(limit))
        .ok_or_else(|| ApiError::invalid("Limit must be between 1 and 100.").param("limit"))
}

/// Whether a time lies in a range such as `{ gte: 5 }`, or is the one given.
pub(super) fn in_range(range: Option<&Value>, time: i64) -> bool {
    let Some(range) = range else {
        return true;
    };
    if let Some(exact) = range.as_i64() {
        return time == exact;
    }
    let holds = |name: &str, test: fn(i64, i64) -> bool| {
        range[name].as_i64().is_none_or(|bound| test(time, bound))
    };
    holds("gt", |time, bound| time > bound)
        && holds("gte", |time, bound| time >= bound)
        && holds("lt", |time, bound| time < bound)
        && holds("lte", |time, bound| time <= bound)
}

/// Whether an object has what the request's parameters of these names say.
pub(super) fn has(work: &Work<'_>, object: &Value, names: &[&str]) -> bool {
    names.iter().all(|&name| {
        let wanted = work.params.get(name);
        wanted.is_none_or(|wanted| object[name] == *wanted)
    })
}
