//! Who may use whom: between crates, as `deny.toml` says it (`dependencies.rs` holds that),
//! and inside them, where Cargo says nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use harness::checkout;
use serde_json::Value;

fn root() -> PathBuf {
    checkout::root().expect("the checkout")
}

/// All that a pure crate may link. With nothing else at hand, its rules cannot reach a
/// clock, a runtime, a log or a database.
const PURE: [(&str, &[&str]); 2] = [
    ("event", &["chrono", "serde", "serde_json"]),
    ("domain", &["chrono", "event", "serde", "serde_json"]),
];

/// The worker's layers: a module uses modules of its own layer or of those after it.
const WORKER_LAYERS: &[&[&str]] = &[
    &["cli"],
    &["service"],
    &["commands"],
    &["jobs", "replay", "dead_letters", "pipeline"],
    &["config"],
    &["amqp", "stripe"],
    &["backoff", "health", "metrics"],
];

/// The direct dependencies of each crate of the workspace, those of its tests left out.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let direct = |package: &Value| {
        let all = package["dependencies"].as_array().cloned();
        let all = all.unwrap_or_default();
        let direct = all.iter().filter(|one| one["kind"] != "dev");
        direct.map(|one| text(&one["name"])).collect()
    };
    packages
        .iter()
        .map(|package| (text(&package["name"]), direct(package)))
        .collect()
}

#[test]
fn the_rules_link_nothing_that_does_io() {
    let dependencies = dependencies();
    for (name, allowed) in PURE {
        let direct = &dependencies[name];
        let wrong: Vec<&String> = direct
            .iter()
            .filter(|one| !allowed.contains(&one.as_str()))
            .collect();
        assert!(wrong.is_empty(), "{name} must not link {wrong:?}");
    }
}

/// A module and the modules of its crate that it names by `crate::`.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Who uses whom in the crate in this folder. Only names at the depth of `levels` count:
/// one for the modules of the crate, two for those inside them as well. Tests are left out.
fn uses(root: &Path, levels: usize) -> Uses {
    let mut uses = Uses::new();
    let mut files = vec![root.to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder");
            files.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let relative = path.strip_prefix(root).expect("under the root");
        let is_test = relative.to_string_lossy().contains("tests");
        if is_test || path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let module = module(relative);
        let text = fs::read_to_string(&path).expect("text");
        let text = text.split("#[cfg(test)]\nmod ").next().expect("a part");
        let entry = uses.entry(cut(&module, levels)).or_default();
        entry.extend(named(text).map(|named| cut(&named, levels)));
    }
    for (module, used) in &mut uses {
        used.remove(module);
    }
    let known: BTreeSet<String> = uses.keys().cloned().collect();
    for used in uses.values_mut() {
        used.retain(|one| known.contains(one));
    }
    uses
}

/// `a::b` of `a/b.rs` and of `a/b/mod.rs`.
fn module(relative: &Path) -> String {
    let path: PathBuf = relative.with_extension("");
    let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    let parts: Vec<String> = parts.filter(|part| part != "mod").collect();
    parts.join("::")
}

fn cut(path: &str, levels: usize) -> String {
    let parts: Vec<&str> = path.split("::").take(levels).collect();
    parts.join("::")
}

/// The paths behind each `crate::` of a file, groups in braces taken apart.
fn named(text: &str) -> impl Iterator<Item = String> {
    let code = text.lines().map(str::trim_start);
    let code = code.filter(|line| !line.starts_with("//"));
    let code: String = code.collect::<Vec<_>>().join("\n");
    let behind = code.split("crate::").skip(1).map(str::to_owned);
    let named: Vec<String> = behind
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(group) => members(group),
            None => vec![path_of(&rest)],
        })
        .filter(|path| !path.is_empty())
        .collect();
    named.into_iter()
}

/// The paths of a group: `a::{b, c}, d` is `a::b`, `a::c` and `d`.
fn members(group: &str) -> Vec<String> {
    let (mut paths, mut prefixes, mut name) = (Vec::new(), vec![String::new()], String::new());
    for char in group.chars() {
        match char {
            '{' => prefixes.push(format!("{}{name}", prefixes.last().expect("one"))),
            ',' | '}' => {
                let path = format!("{}{}", prefixes.last().expect("one"), name.trim());
                paths.push(path.trim_end_matches("::self").to_owned());
                if char == '}' {
                    prefixes.pop();
                }
                if prefixes.is_empty() {
                    return paths;
                }
                name.clear();
                continue;
            }
            char if char.is_whitespace() => continue,
            char => {
                name.push(char);
                continue;
            }
        }
        name.clear();
    }
    paths
}

fn path_of(rest: &str) -> String {
    let end = rest.find(|char: char| !char.is_alphanumeric() && char != '_' && char != ':');
    rest[..end.unwrap_or(rest.len())]
        .trim_end_matches("::")
        .to_owned()
}

/// A way from a module back to itself.
fn cycle(uses: &Uses) -> Option<Vec<String>> {
    fn visit<'a>(
        uses: &'a Uses,
        module: &'a str,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|one| *one == module) {
            return Some(way[start..].iter().map(|one| (*one).to_owned()).collect());
        }
        if !done.insert(module) {
            return None;
        }
        way.push(module);
        let found = uses[module]
            .iter()
            .find_map(|next| visit(uses, next, way, done));
        way.pop();
        found
    }
    let mut done = BTreeSet::new();
    uses.keys()
        .find_map(|module| visit(uses, module, &mut Vec::new(), &mut done))
}

#[test]
fn paths_are_read_from_use_groups() {
    let text = "use crate::{a::{self, b::C, d}, e::F};\nlet x = crate::g::h(1);\n// crate::no";
    let named: Vec<String> = named(text).collect();
    assert_eq!(named, ["a", "a::b::C", "a::d", "e::F", "g::h"]);
    let uses = Uses::from([
        ("a".into(), BTreeSet::from(["b".into()])),
        ("b".into(), BTreeSet::from(["c".into()])),
        ("c".into(), BTreeSet::from(["b".into()])),
    ]);
    assert_eq!(cycle(&uses).unwrap(), ["b", "c"]);
}

#[test]
fn no_two_modules_of_a_crate_use_each_other() {
    for (folder, levels) in [
        ("shared/event/src", 1),
        ("shared/src", 1),
        ("worker/domain/src", 1),
        ("worker/store/src", 1),
        ("worker/src", 2),
        ("ingest/src", 1),
    ] {
        let mut uses = uses(&root().join(folder), levels);
        // The root of a crate and a parent name their children to declare them.
        uses.retain(|module, _| !["lib", "main"].contains(&module.as_str()));
        let parents: BTreeSet<String> = uses.keys().map(|module| cut(module, 1)).collect();
        for (module, used) in &mut uses {
            used.retain(|one| one != "lib" && !(parents.contains(one) && module.starts_with(one)));
        }
        assert_eq!(cycle(&uses), None, "{folder}: {uses:#?}");
    }
}

#[test]
fn the_workers_modules_keep_to_their_layers() {
    let uses = uses(&root().join("worker/src"), 1);
    let layer = |module: &str| WORKER_LAYERS.iter().position(|one| one.contains(&module));
    for (module, used) in &uses {
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let own = layer(module).unwrap_or_else(|| panic!("{module} has no layer"));
        for one in used {
            let other = layer(one).unwrap_or_else(|| panic!("{one} has no layer"));
            assert!(own <= other, "{module} must not use {one}");
        }
    }
}
