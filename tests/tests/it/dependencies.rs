//! What the project is built from: every licence, every banned crate and every
//! crate that is there twice, by the rules of `deny.toml`.
//!
//! cargo-deny reads the same file and knows more, the advisories among it; see
//! docs/decisions/021-dependency-rules-are-a-test.md for why it is not what runs here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    sync::LazyLock,
};

use harness::checkout;
use serde_json::Value;

/// Crates that are there in several versions, since others ask for them so. A new
/// one is looked at before it is added: two versions are two lots of code to
/// trust. One that is gone is taken out.
const SEVERAL: [&str; 16] = [
    "base64",
    "bit-vec",
    "block-buffer",
    "const-oid",
    "cpufeatures",
    "crypto-common",
    "digest",
    "getrandom",
    "hashbrown",
    "hmac",
    "nom",
    "sha2",
    "syn",
    "synstructure",
    "toml_datetime",
    "winnow",
];

/// The quoted strings of a list in `deny.toml`, from the line that begins so to
/// the one that ends it.
fn list(text: &str, begin: &str) -> Vec<String> {
    let (_, list) = text.split_once(&format!("\n{begin}\n")).expect(begin);
    let (list, _) = list.split_once("\n]").expect(begin);
    let lines = list.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| Some(line.split('"').nth(1)?.to_owned()))
        .collect()
}

fn deny() -> String {
    let file = checkout::root().unwrap().join("deny.toml");
    fs::read_to_string(file).expect("deny.toml")
}

/// The packages that the project can be built from, on any system. Several tests
/// look at them, and cargo takes half a second to list them.
static PACKAGES: LazyLock<Vec<Value>> = LazyLock::new(packages);

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(checkout::root().unwrap())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
    metadata["packages"].as_array().expect("packages").clone()
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

/// Whether an SPDX expression can be met with licences that are allowed.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    // Old crates write a stroke for "or".
    let expression = expression.replace('/', " OR ");
    let padded = expression.replace('(', " ( ").replace(')', " ) ");
    let mut words = padded.split_whitespace().peekable();
    let met = either(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= both(words, allowed);
    }
    met
}

fn both(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    match words.next() {
        Some("(") => either(words, allowed) & words.next_if_eq(&")").is_some(),
        Some(licence) => {
            let mut licence = licence.to_owned();
            if words.next_if_eq(&"WITH").is_some() {
                licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
            }
            allowed.contains(&licence)
        }
        None => false,
    }
}

#[test]
fn expressions_are_read() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned(), "A WITH b".to_owned()];
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("MIT AND ISC", true),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("(GPL-3.0 OR MIT) AND X", false),
        ("GPL-3.0 AND X OR MIT", true),
        ("A", false),
        ("A WITH b", true),
        ("MIT ISC", false),
        ("(MIT", false),
        ("", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}

#[test]
fn every_licence_is_allowed() {
    let allowed = list(&deny(), "allow = [");
    assert!(allowed.contains(&"MIT".to_owned()), "{allowed:?}");
    let refused: Vec<String> = PACKAGES
        .iter()
        .filter(|package| !is_met(text(package, "license"), &allowed))
        .map(|package| format!("{}: {:?}", text(package, "name"), text(package, "license")))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn everything_comes_from_one_registry() {
    let mut registries = BTreeSet::new();
    for package in PACKAGES.iter() {
        let source = text(package, "source");
        let ours = [
            "domain", "event", "harness", "ingest", "shared", "store", "worker",
        ]
        .contains(&text(package, "name"));
        let known = match ours {
            true => source.is_empty(),
            false => source.starts_with("registry+"),
        };
        assert!(known, "{} is from {source:?}", text(package, "name"));
        registries.extend((!ours).then(|| source.to_owned()));
    }
    assert_eq!(registries.len(), 1, "{registries:?}");
}

#[test]
fn no_banned_crate_is_there() {
    let packages = &*PACKAGES;
    let names: BTreeMap<&str, &str> = packages
        .iter()
        .map(|package| (text(package, "id"), text(package, "name")))
        .collect();
    let there: BTreeSet<&str> = names.values().copied().collect();
    let deny = deny();
    let (_, bans) = deny.split_once("\ndeny = [\n").expect("bans");
    let (bans, _) = bans.split_once("\n]").expect("bans");
    let mut looked_at = 0;
    for line in bans.lines().filter(|line| line.contains("crate = ")) {
        let name = line.split('"').nth(1).expect("a name");
        looked_at += 1;
        // With wrappers, the crate is banned from all others.
        let Some((_, wrappers)) = line.split_once("wrappers = [") else {
            assert!(!there.contains(name), "{name}: {line}");
            continue;
        };
        let wrappers = wrappers.split(']').next().unwrap_or_default();
        let wrappers: Vec<&str> = wrappers.split('"').skip(1).step_by(2).collect();
        for package in packages {
            let mut direct = package["dependencies"].as_array().into_iter().flatten();
            let depends = direct.any(|one| text(one, "name") == name && one["kind"] != "dev");
            let allowed = wrappers.contains(&text(package, "name"));
            assert!(
                allowed || !depends || is_left_out(package, name),
                "{} depends on {name}: {line}",
                text(package, "name")
            );
        }
    }
    assert!(looked_at > 10, "{looked_at}");
}

/// Whether a dependency is optional, which says nothing of whether it is used.
fn is_left_out(package: &Value, name: &str) -> bool {
    let direct = package["dependencies"].as_array().into_iter().flatten();
    let mut of_name = direct.filter(|one| text(one, "name") == name);
    of_name.all(|one| one["optional"] == true)
}

#[test]
fn what_is_there_twice_is_known() {
    let packages = &*PACKAGES;
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        let of_name = versions.entry(text(package, "name")).or_default();
        of_name.insert(text(package, "version"));
    }
    let several: Vec<&str> = versions
        .iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(several, SEVERAL);
}
