//! Reads the fields of a command. All that is wrong is named at once.

use serde_json::{Map, Value};

use super::error::CommandError;

/// The most problems that an error names.
const NAMED: usize = 10;
/// The longest text that a field may have unless it says otherwise, in bytes.
pub const MAX_TEXT: usize = 500;

/// The fields of one command that were not read yet.
#[derive(Debug)]
pub struct Fields {
    left: Map<String, Value>,
    problems: Vec<(String, String)>,
}

impl Fields {
    /// The fields of `data`.
    ///
    /// # Errors
    /// It is no object.
    pub fn new(data: Value) -> Result<Self, CommandError> {
        match data {
            Value::Object(left) => Ok(Self {
                left,
                problems: Vec::new(),
            }),
            _ => Err(CommandError::new(
                "invalid_command",
                "the data of a command is a JSON object",
            )),
        }
    }

    /// Takes a field that may be missing; null counts as missing. `read` says what is wrong
    /// with its value.
    pub fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.left.remove(name).filter(|value| !value.is_null())?;
        match read(value) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problems.push((name.to_owned(), problem));
                None
            }
        }
    }

    /// Takes a field that must be there. The default stands in until [`Fields::finish`] says
    /// that it is missing.
    pub fn required<T: Default>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Result<T, String>,
    ) -> T {
        if self.left.get(name).is_none_or(Value::is_null) {
            self.left.remove(name);
            self.problems.push((name.to_owned(), "is missing".into()));
            return T::default();
        }
        self.optional(name, read).unwrap_or_default()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// The fields that are wrong, missing or unknown.
    pub fn finish(self) -> Result<(), CommandError> {
        let unknown = self.left.into_iter().map(|(name, _)| {
            // It is the sender's, but need not be long.
            let name: String = name.chars().take(40).collect();
            (name, "is not known".to_owned())
        });
        let problems: Vec<(String, String)> = self.problems.into_iter().chain(unknown).collect();
        let Some((first, _)) = problems.first() else {
            return Ok(());
        };
        let said = problems.iter().take(NAMED);
        let said: Vec<String> = said.map(|(name, why)| format!("{name} {why}")).collect();
        let error = CommandError::new("invalid_command", said.join("; "));
        Err(error.at(first.clone()))
    }
}

/// A text of one line that is not empty.
pub fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) if text.trim().is_empty() => Err("is empty".into()),
        Value::String(text) if text.len() > MAX_TEXT => {
            Err(format!("is longer than {MAX_TEXT} bytes"))
        }
        // A NUL is no text to PostgreSQL, and none of these belongs into a name or an address.
        Value::String(text) if text.contains(char::is_control) => {
            Err("holds a control character".into())
        }
        Value::String(text) => Ok(text),
        _ => Err("is no text".into()),
    }
}

/// An id of the main app's: a text, or a whole number. Ids that differ in spaces around them
/// alone would be two hosts here, and perhaps one elsewhere.
pub fn id(value: Value) -> Result<String, String> {
    match value {
        Value::Number(number) if number.is_i64() => Ok(number.to_string()),
        Value::String(given) if given.trim() != given && !given.trim().is_empty() => {
            Err("begins or ends with a space".into())
        }
        Value::String(_) => text(value),
        _ => Err("is neither a text nor a whole number".into()),
    }
}

/// A text that is one of these.
pub fn one_of(allowed: &'static [&'static str]) -> impl Fn(Value) -> Result<&'static str, String> {
    move |value| {
        let found = allowed.iter().find(|one| value == **one);
        found
            .copied()
            .ok_or_else(|| format!("is none of {}", allowed.join(", ")))
    }
}

/// A list of texts that `read` takes, each once, of at most `most`.
pub fn list<T: PartialEq>(
    most: usize,
    read: impl Fn(Value) -> Result<T, String>,
) -> impl FnOnce(Value) -> Result<Vec<T>, String> {
    move |value| {
        let Value::Array(values) = value else {
            return Err("is no list".into());
        };
        if values.len() > most {
            return Err(format!("has more than {most} entries"));
        }
        let mut list = Vec::new();
        for value in values {
            let one = read(value).map_err(|problem| format!("has an entry that {problem}"))?;
            if !list.contains(&one) {
                list.push(one);
            }
        }
        Ok(list)
    }
}

/// A country by its two capital letters (ISO 3166-1).
pub fn country(value: Value) -> Result<String, String> {
    let text = text(value)?;
    let fits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    fits.then_some(text)
        .ok_or_else(|| "is no country of two capital letters, such as ES".into())
}

/// A currency by its three small letters, as Stripe writes it.
pub fn currency(value: Value) -> Result<String, String> {
    let text = text(value)?;
    let fits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_lowercase());
    fits.then_some(text)
        .ok_or_else(|| "is no currency of three small letters, such as eur".into())
}

/// An e-mail address, as far as it can be told without sending to it.
pub fn email(value: Value) -> Result<String, String> {
    let text = text(value)?;
    let parts = text.split_once('@');
    let fits = parts.is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !domain.contains('@')
    });
    (fits && !text.contains(char::is_whitespace))
        .then_some(text)
        .ok_or_else(|| "is no e-mail address".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        let mut fields = Fields::new(json!({
            "country": "es", "email": "nobody", "kind": "x", "hostID": 1, "note": null,
        }))
        .unwrap();
        let _ = fields.required("hostId", id);
        let _ = fields.required("email", email);
        let _ = fields.optional("country", country);
        let _ = fields.optional("kind", one_of(&["a", "b"]));
        let _ = fields.optional("note", text);
        let error = fields.finish().unwrap_err();
        assert_eq!(error.code, "invalid_command");
        assert_eq!(error.field.as_deref(), Some("hostId"));
        assert_eq!(
            error.message,
            "hostId is missing; email is no e-mail address; country is no country of two capital \
             letters, such as ES; kind is none of a, b; hostID is not known"
        );
        assert!(Fields::new(json!([])).is_err());
    }

    #[test]
    fn fields_of_the_right_form_are_taken() {
        let mut fields = Fields::new(json!({
            "hostId": 42, "email": "anna@example.org", "country": "ES", "currency": "eur",
            "components": ["a", "b", "a"],
        }))
        .unwrap();
        assert_eq!(fields.required("hostId", id), "42");
        assert_eq!(fields.required("email", email), "anna@example.org");
        assert_eq!(fields.optional("country", country).unwrap(), "ES");
        assert_eq!(fields.optional("currency", currency).unwrap(), "eur");
        assert_eq!(fields.required("components", list(3, text)), ["a", "b"]);
        assert_eq!(fields.optional("other", text), None);
        fields.finish().unwrap();
        for wrong in [
            json!(""),
            json!(" "),
            json!(1.5),
            json!("a\0"),
            json!("a\n"),
            json!("a\u{85}b"),
            json!(" a"),
            json!("a\u{a0}"),
            json!(u64::MAX),
            json!(-0.0),
            json!([1]),
            json!("a".repeat(501)),
        ] {
            assert!(id(wrong).is_err());
        }
        assert!(list(1, text)(json!(["a", "b"])).is_err());
    }
}
