//! What commands print: tables and cards for people, JSON lines for programs.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::{Cell, Table, presets};
use serde_json::Value;

/// Standard output, in one of two forms.
pub(super) struct Output {
    out: io::Stdout,
    /// One JSON object a line, for programs.
    pub(super) json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self {
            out: io::stdout(),
            json,
        }
    }

    /// One line of text.
    pub(super) fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// One JSON object on a line of its own.
    pub(super) fn object(&mut self, object: &Value) -> io::Result<()> {
        writeln!(self.out, "{}", safe_json(object))
    }

    /// Bytes as they are; on a terminal, what it would obey is escaped.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.out.is_terminal() {
            let text = String::from_utf8_lossy(bytes);
            let lines: Vec<String> = text.split('\n').map(safe).collect();
            writeln!(self.out, "{}", lines.join("\n"))?;
        } else {
            self.out.write_all(bytes)?;
        }
        self.out.flush()
    }

    /// Rows under a heading.
    pub(super) fn table<const N: usize>(
        &mut self,
        heading: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> io::Result<()> {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(heading);
        for row in rows {
            table.add_row(row.iter().map(|text| Cell::new(safe(text))));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        writeln!(self.out, "{}", table.trim_fmt())
    }

    /// Names and values, one a line.
    pub(super) fn card(&mut self, fields: &[(&str, String)]) -> io::Result<()> {
        let shown = fields.iter().filter(|(_, value)| !value.is_empty());
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in shown {
            writeln!(self.out, "{name:width$}  {}", safe(value))?;
        }
        Ok(())
    }
}

/// A moment for people: UTC, to the second.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A moment for programs: RFC 3339 in UTC, to the microsecond.
pub(super) fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Nothing, where there is nothing.
pub(super) fn or_empty(text: Option<&String>) -> String {
    text.cloned().unwrap_or_default()
}

/// Those of `ids` that are not among the known, for an error; none where all are.
pub(super) fn unknown(ids: &[String], known: &BTreeMap<String, String>) -> Option<String> {
    let unknown = ids.iter().filter(|id| !known.contains_key(*id));
    let unknown: Vec<String> = unknown.map(|id| safe(id)).collect();
    (!unknown.is_empty()).then(|| unknown.join(", "))
}

/// A text from outside with what a terminal obeys escaped.
pub(super) fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        if is_obeyed(char) {
            safe.extend(char.escape_default());
        } else {
            safe.push(char);
        }
    }
    safe
}

/// The same in JSON, where such characters stand in texts only.
fn safe_json(object: &Value) -> String {
    let json = object.to_string();
    let mut safe = String::with_capacity(json.len());
    for char in json.chars() {
        if is_obeyed(char) {
            let _infallible = write!(safe, "\\u{:04x}", u32::from(char));
        } else {
            safe.push(char);
        }
    }
    safe
}

/// Control characters, and those that turn the direction of writing.
fn is_obeyed(char: char) -> bool {
    let turns =
        matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    char.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::{safe, safe_json};
    use serde_json::{Value, json};

    #[test]
    fn a_terminal_obeys_no_text_from_outside() {
        assert_eq!(safe("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(safe("a\u{202e}b\u{9b}"), "a\\u{202e}b\\u{9b}");
        assert_eq!(safe("Größe €"), "Größe €");
    }

    #[test]
    fn json_means_the_same_without_what_a_terminal_obeys() {
        let object = json!({ "host": "a\u{9b}2J\u{202e}b\u{7f}\u{1b}\n", "a\u{85}": "Größe" });
        let line = safe_json(&object);
        assert!(!line.chars().any(super::is_obeyed), "{line:?}");
        assert!(line.contains("Größe"), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), object);
    }
}
