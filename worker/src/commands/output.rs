//! What commands print: tables and cards for people, JSON lines for programs.

use std::io::{self, Write};

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
        writeln!(self.out, "{object}")
    }

    /// Bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
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

/// A text from outside with its control characters escaped, and those that turn
/// the direction of writing: a terminal obeys them.
pub(super) fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        let turns = matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if char.is_control() || turns {
            safe.extend(char.escape_default());
        } else {
            safe.push(char);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::safe;

    #[test]
    fn a_terminal_obeys_no_text_from_outside() {
        assert_eq!(safe("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(safe("a\u{202e}b\u{9b}"), "a\\u{202e}b\\u{9b}");
        assert_eq!(safe("Größe €"), "Größe €");
    }
}
