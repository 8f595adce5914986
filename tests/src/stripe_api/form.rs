//! Reads forms and queries: `a[b][c]=v`, `a[]=v` and `a[0]=v`.

use serde_json::{Map, Value};
use url::form_urlencoded;

/// Reads a form into nested objects. A list becomes an object whose names are the
/// numbers of its items, until the parameters' types say that it is one.
pub(super) fn decode(form: &[u8]) -> Value {
    let mut root = Map::new();
    for (name, value) in form_urlencoded::parse(form) {
        put(&mut root, &path(&name), &value);
    }
    Value::Object(root)
}

/// `a[b][]` as `a`, `b` and an empty name.
fn path(name: &str) -> Vec<&str> {
    let Some((first, rest)) = name.split_once('[') else {
        return vec![name];
    };
    let rest = rest.strip_suffix(']').unwrap_or(rest);
    let mut path = vec![first];
    path.extend(rest.split("]["));
    path
}

fn put(object: &mut Map<String, Value>, path: &[&str], value: &str) {
    let Some((&first, rest)) = path.split_first() else {
        return;
    };
    let name = if first.is_empty() {
        object.len().to_string()
    } else {
        first.to_owned()
    };
    if rest.is_empty() {
        // A name that comes again replaces the value, as at Stripe; a plain list
        // of a query repeats its name, and is told apart by its type.
        object.insert(name, value.into());
        return;
    }
    let inner = object
        .entry(name)
        .or_insert_with(|| Value::Object(Map::new()));
    if !inner.is_object() {
        *inner = Value::Object(Map::new());
    }
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}

/// The items of what was read, where its names are numbers.
pub(super) fn items(object: &Map<String, Value>) -> Option<Vec<(String, Value)>> {
    let mut items = Vec::new();
    for (name, value) in object {
        items.push((name.parse::<usize>().ok()?, value.clone()));
    }
    items.sort_by_key(|(number, _)| *number);
    let named = items.into_iter();
    Some(
        named
            .map(|(number, value)| (number.to_string(), value))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::decode;

    #[test]
    fn brackets_nest() {
        let form = b"a=1&b[c][d]=x%20y&b[c][e]=z&l[]=p&l[]=q&m[1][k]=2&m[0][k]=1&n=";
        assert_eq!(
            decode(form),
            json!({
                "a": "1",
                "b": { "c": { "d": "x y", "e": "z" } },
                "l": { "0": "p", "1": "q" },
                "m": { "1": { "k": "2" }, "0": { "k": "1" } },
                "n": "",
            })
        );
    }
}
