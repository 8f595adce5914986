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

/// A module and the modules of its crate that it names by `crate::`, `super::` or `self::`.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Which modules of the crate in this folder use which. A parent, which a module names for
/// what both share, is left out, and so are tests.
fn uses(root: &Path) -> Uses {
    let mut named_by = Uses::new();
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
        named_by.insert(module.clone(), named(text, &module));
    }
    let used = |module: &str, named: &BTreeSet<String>| {
        let used = named.iter().filter_map(|path| known(&named_by, path));
        used.filter(|one| !is_in(module, one)).collect()
    };
    let all = named_by.iter();
    all.map(|(module, named)| (module.clone(), used(module, named)))
        .collect()
}

/// The module that a path leads to or into; `None` where it is no module of this crate.
fn known(modules: &Uses, path: &str) -> Option<String> {
    let mut path = path;
    while !modules.contains_key(path) {
        path = path.rsplit_once("::")?.0;
    }
    Some(path.to_owned())
}

/// Whether a module is this one or inside of it.
fn is_in(module: &str, outer: &str) -> bool {
    let rest = module.strip_prefix(outer);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// `a::b` of `a/b.rs` and of `a/b/mod.rs`; nothing of the root of a crate.
fn module(relative: &Path) -> String {
    let path: PathBuf = relative.with_extension("");
    let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    let parts: Vec<String> = parts.filter(|part| part != "mod").collect();
    match parts.join("::") {
        root if ["lib", "main"].contains(&root.as_str()) => String::new(),
        module => module,
    }
}

/// The paths that the text of a module names, from the root of its crate, groups in braces
/// taken apart.
fn named(text: &str, module: &str) -> BTreeSet<String> {
    let code = text.lines().map(str::trim_start);
    let code = code.filter(|line| !line.starts_with("//"));
    let code: String = code.collect::<Vec<_>>().join("\n");
    let mut named = BTreeSet::new();
    for word in ["crate::", "self::", "super::"] {
        for (at, _) in code.match_indices(word) {
            let inside = |char: char| char.is_alphanumeric() || char == '_' || char == ':';
            // The end of another path, such as the second word of `super::super::`.
            if code[..at].ends_with(inside) {
                continue;
            }
            let rest = &code[at + word.len()..];
            let path = path_of(rest);
            let paths = match rest[path.len()..].strip_prefix('{') {
                Some(group) => members(&path, group),
                None => vec![path],
            };
            named.extend(paths.iter().map(|path| resolved(word, path, module)));
        }
    }
    named
}

/// The path from the root of the crate of one that a module writes behind `word`.
fn resolved(word: &str, path: &str, module: &str) -> String {
    let mut parts: Vec<&str> = match word {
        "crate::" => Vec::new(),
        _ => module.split("::").filter(|part| !part.is_empty()).collect(),
    };
    let path = path.split("::").filter(|part| !part.is_empty());
    for part in word.split("::").take(1).chain(path) {
        match part {
            "crate" | "self" => {}
            "super" => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("::")
}

/// The paths of a group behind a prefix: `a::{b, c}, d` behind nothing is `a::b`, `a::c` and `d`.
fn members(prefix: &str, group: &str) -> Vec<String> {
    let (mut paths, mut prefixes) = (Vec::new(), vec![prefix.to_owned()]);
    let mut name = String::new();
    for char in group.chars() {
        match char {
            '{' => prefixes.push(format!("{}{name}", prefixes.last().expect("one"))),
            ',' | '}' => {
                // Behind the brace that ends an inner group there is no name.
                if !name.is_empty() {
                    paths.push(format!("{}{name}", prefixes.last().expect("one")));
                }
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
    rest[..end.unwrap_or(rest.len())].to_owned()
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
    let named_in_x = named(text, "x");
    let expected = ["a", "a::b::C", "a::d", "e::F", "g::h"];
    assert!(named_in_x.iter().eq(expected), "{named_in_x:?}");
    let text = "use crate::a::b::{c::D, e};";
    assert!(named(text, "x").iter().eq(["a::b::c::D", "a::b::e"]));
    let text = "use super::{a::B, c};\nuse self::d::E;\nsuper::super::f(super::g::H);";
    let named_in_z = named(text, "x::y::z");
    let expected = [
        "x::f",
        "x::y::a::B",
        "x::y::c",
        "x::y::g::H",
        "x::y::z::d::E",
    ];
    assert!(named_in_z.iter().eq(expected), "{named_in_z:?}");
    let uses = Uses::from([
        ("a".into(), BTreeSet::from(["b".into()])),
        ("b".into(), BTreeSet::from(["c".into()])),
        ("c".into(), BTreeSet::from(["b".into()])),
    ]);
    assert_eq!(cycle(&uses).unwrap(), ["b", "c"]);
}

#[test]
fn no_two_modules_of_a_crate_use_each_other() {
    for folder in [
        "shared/event/src",
        "shared/src",
        "worker/domain/src",
        "worker/store/src",
        "worker/src",
        "ingest/src",
    ] {
        let uses = uses(&root().join(folder));
        assert_eq!(cycle(&uses), None, "{folder}: {uses:#?}");
    }
}

#[test]
fn the_workers_modules_keep_to_their_layers() {
    let uses = uses(&root().join("worker/src"));
    let layer = |module: &str| {
        let outermost = module.split("::").next().expect("a part");
        let layer = WORKER_LAYERS
            .iter()
            .position(|one| one.contains(&outermost));
        layer.unwrap_or_else(|| panic!("{outermost} has no layer"))
    };
    for (module, used) in uses.iter().filter(|(module, _)| !module.is_empty()) {
        for one in used {
            assert!(layer(module) <= layer(one), "{module} must not use {one}");
        }
    }
}
