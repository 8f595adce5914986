//! Checks a request's parameters against Stripe's type definitions, and gives
//! each its type.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::{errors::ApiError, form};

/// What `tests/types/parameters.mjs` read from the type definitions.
static TYPES: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("parameters.json")).expect("parameters.json is JSON")
});

/// How the parameters came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// As a form or a query: all values are text.
    Form,
    /// As JSON.
    Json,
}

/// The names of a parameter and of those around it.
struct At<'a> {
    wire: Wire,
    path: Vec<&'a str>,
}

impl At<'_> {
    /// As the answer names it.
    fn name(&self) -> String {
        match self.wire {
            Wire::Json => self.path.join("."),
            Wire::Form => {
                let mut names = self.path.iter();
                let first = names.next().copied().unwrap_or_default().to_owned();
                names.fold(first, |name, inner| format!("{name}[{inner}]"))
            }
        }
    }
}

/// The parameters of a request such as `POST /v1/accounts`, with their types.
pub(super) fn check(request: &str, wire: Wire, given: &Value) -> Result<Value, ApiError> {
    let types = TYPES.get(request).and_then(Value::as_object);
    let types = types.expect("the parameters of every route are in parameters.json");
    let given = given.as_object().ok_or_else(|| {
        ApiError::invalid("Invalid request: the body must be an object of parameters.")
    })?;
    let mut at = At {
        wire,
        path: Vec::new(),
    };
    fields(&mut at, types, given).map(Value::Object)
}

/// The fields that a parameter of a request has, with their types.
pub(super) fn fields_of(request: &str, parameter: &str) -> Map<String, Value> {
    let types = &TYPES[request];
    let required = format!("{parameter}!");
    let kind = types.get(parameter).or_else(|| types.get(&required));
    kind.and_then(Value::as_object).cloned().unwrap_or_default()
}

fn fields<'a>(
    at: &mut At<'a>,
    types: &Map<String, Value>,
    given: &'a Map<String, Value>,
) -> Result<Map<String, Value>, ApiError> {
    let mut checked = Map::new();
    for (name, value) in given {
        let kind = types.get(name).or_else(|| types.get(&format!("{name}!")));
        at.path.push(name);
        let Some(kind) = kind else {
            return Err(ApiError::unknown(&at.name()));
        };
        if !(value.is_null() && at.wire == Wire::Json) {
            checked.insert(name.clone(), typed(at, kind, value)?);
        }
        at.path.pop();
    }
    for name in types.keys().filter_map(|name| name.strip_suffix('!')) {
        if !checked.contains_key(name) {
            let inner = At {
                wire: at.wire,
                path: at.path.iter().copied().chain([name]).collect(),
            };
            return Err(ApiError::missing(&inner.name()));
        }
    }
    Ok(checked)
}

fn typed<'a>(at: &mut At<'a>, kind: &Value, value: &'a Value) -> Result<Value, ApiError> {
    match kind {
        Value::String(kind) => plain(at, kind, value),
        Value::Array(item) => list(at, &item[0], value),
        Value::Object(kind) => {
            if let Some(words) = kind.get("|").and_then(Value::as_array) {
                return word(at, words, value);
            }
            if let Some(kinds) = kind.get("or").and_then(Value::as_array) {
                return one_of(at, kinds, value);
            }
            let object = value
                .as_object()
                .ok_or_else(|| wrong(at, "object", value))?;
            if let Some(kind) = kind.get("*") {
                return map(at, kind, object).map(Value::Object);
            }
            fields(at, kind, object).map(Value::Object)
        }
        _ => Ok(value.clone()),
    }
}

fn plain(at: &At<'_>, kind: &str, value: &Value) -> Result<Value, ApiError> {
    let typed = match (kind, at.wire, value) {
        ("any", _, value) => Some(value.clone()),
        ("string", Wire::Form, Value::String(text)) if text.is_empty() => {
            return Err(empty(at));
        }
        ("string", _, Value::String(_))
        | ("boolean", Wire::Json, Value::Bool(_))
        | ("number", Wire::Json, Value::Number(_)) => Some(value.clone()),
        ("boolean", Wire::Form, Value::String(text)) => text.parse::<bool>().ok().map(Value::from),
        ("number", Wire::Form, Value::String(text)) => text.parse::<i64>().ok().map(Value::from),
        _ => None,
    };
    typed.ok_or_else(|| wrong(at, kind, value))
}

fn list<'a>(at: &mut At<'a>, item: &Value, value: &'a Value) -> Result<Value, ApiError> {
    let mut checked = Vec::new();
    match value {
        Value::Array(items) => {
            for one in items {
                checked.push(typed(at, item, one)?);
            }
        }
        Value::Object(object) if at.wire == Wire::Form && form::items(object).is_some() => {
            for (number, _) in form::items(object).unwrap_or_default() {
                let (name, one) = object.get_key_value(&number).expect("it was just listed");
                at.path.push(name);
                checked.push(typed(at, item, one)?);
                at.path.pop();
            }
        }
        _ => return Err(wrong(at, "array", value)),
    }
    Ok(checked.into())
}

fn map<'a>(
    at: &mut At<'a>,
    kind: &Value,
    object: &'a Map<String, Value>,
) -> Result<Map<String, Value>, ApiError> {
    let mut checked = Map::new();
    for (name, value) in object {
        // An empty value takes a name out of the metadata.
        let empty = value.as_str() == Some("");
        at.path.push(name);
        let value = if empty {
            value.clone()
        } else {
            typed(at, kind, value)?
        };
        at.path.pop();
        if !empty {
            checked.insert(name.clone(), value);
        }
    }
    Ok(checked)
}

fn word(at: &At<'_>, words: &[Value], value: &Value) -> Result<Value, ApiError> {
    if words.contains(value) {
        return Ok(value.clone());
    }
    let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
    let name = at.name();
    let message = format!("Invalid {name}: must be one of {}", words.join(", "));
    Err(ApiError::invalid(message).param(&name))
}

/// The first type that the value has.
fn one_of<'a>(at: &mut At<'a>, kinds: &[Value], value: &'a Value) -> Result<Value, ApiError> {
    let depth = at.path.len();
    let mut refused = None;
    for kind in kinds {
        match typed(at, kind, value) {
            Ok(value) => return Ok(value),
            // The one of the same form has more to say.
            Err(error) if kind.is_object() == value.is_object() => refused = Some(error),
            Err(_) => {}
        }
        at.path.truncate(depth);
    }
    Err(refused.unwrap_or_else(|| wrong(at, "value", value)))
}

fn empty(at: &At<'_>) -> ApiError {
    let name = at.name();
    ApiError::invalid(format!(
        "You passed an empty string for '{name}'. We assume empty values are an attempt to unset \
         a parameter; however '{name}' cannot be unset."
    ))
    .code("parameter_invalid_empty")
    .param(&name)
}

fn wrong(at: &At<'_>, kind: &str, value: &Value) -> ApiError {
    let name = at.name();
    match kind {
        "number" => {
            ApiError::invalid(format!("Invalid integer: {value}")).code("parameter_invalid_integer")
        }
        kind => ApiError::invalid(format!("Invalid {kind}: {value}")),
    }
    .param(&name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::form, Wire, check};

    fn refused(request: &str, body: &str) -> (Option<String>, Option<String>) {
        let error = check(request, Wire::Form, &form::decode(body.as_bytes())).unwrap_err();
        (error.code, error.param)
    }

    #[test]
    fn a_form_gets_the_types_of_its_parameters() {
        let body = "mode=payment&line_items[0][quantity]=2&line_items[0][price_data][currency]=eur\
                    &line_items[0][price_data][unit_amount]=4500&allow_promotion_codes=false\
                    &metadata[0]=x&expand[]=invoice";
        let given = form::decode(body.as_bytes());
        assert_eq!(
            check("POST /v1/checkout/sessions", Wire::Form, &given).unwrap(),
            json!({
                "mode": "payment",
                "line_items": [{ "quantity": 2, "price_data": { "currency": "eur", "unit_amount": 4500 } }],
                "allow_promotion_codes": false,
                "metadata": { "0": "x" },
                "expand": ["invoice"],
            })
        );
        let given = form::decode(b"created[gte]=5&limit=3");
        let listed = check("GET /v1/accounts", Wire::Form, &given).unwrap();
        assert_eq!(listed, json!({ "created": { "gte": 5 }, "limit": 3 }));
    }

    #[test]
    fn wrong_parameters_are_named() {
        let named = |code: &str, param: &str| (Some(code.to_owned()), Some(param.to_owned()));
        let accounts = "POST /v1/accounts";
        assert_eq!(
            refused(accounts, "individual[nick]=x"),
            named("parameter_unknown", "individual[nick]")
        );
        assert_eq!(
            refused("POST /v1/account_links", "account=acct_1"),
            named("parameter_missing", "type")
        );
        assert_eq!(
            refused("POST /v1/refunds", "amount=x"),
            named("parameter_invalid_integer", "amount")
        );
        assert_eq!(
            refused(accounts, "type=plain"),
            (None, Some("type".to_owned()))
        );
        let given =
            json!({ "account": "acct_1", "use_case": { "type": "account_onboarding", "x": 1 } });
        let error = check("POST /v2/core/account_links", Wire::Json, &given).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("use_case.x"));
    }
}
