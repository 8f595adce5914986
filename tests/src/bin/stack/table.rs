//! Tables for people.

use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};

/// An empty table with these headings.
pub(crate) fn with_headings<const N: usize>(headings: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(headings);
    table
}
