//! What `make demo` tells, with the NestJS app of docs/MAIN_APP.md and servers that are given.

use std::process::Command;

use harness::checkout;

const README: &str = include_str!("../../../README.md");

/// The tables that the document shows, each line without the spaces before it.
fn tables() -> Vec<&'static str> {
    let lines = README.lines().filter_map(|line| line.strip_prefix("    "));
    lines
        .filter(|line| line.starts_with(['┌', '│', '╞', '└']))
        .collect()
}

#[test]
fn the_demo_shows_the_tables_of_the_readme_and_one_paid_booking() {
    let told = Command::new(env!("CARGO_BIN_EXE_stack"))
        .arg("demo")
        .current_dir(checkout::root().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&told.stdout);
    let said = format!("{text}{}", String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "{said}");
    let tables = tables();
    assert!(tables.len() > 10, "{tables:?}");
    assert!(text.contains(&tables[..7].join("\n")), "{said}");
    assert!(text.contains(&tables[7..].join("\n")), "{said}");
    let heard = text.matches("booking.invoice.paid").count();
    assert_eq!(heard, 1, "{said}");
}
