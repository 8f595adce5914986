//! What the documents list is what the code handles.

use std::collections::BTreeSet;

use event::EventType;

/// The types in the README's list of events: each item names one whole, and others of the same
/// object by what follows its name.
fn listed(readme: &str) -> BTreeSet<String> {
    let items = readme.lines().filter(|line| line.starts_with("   - `"));
    let mut types = BTreeSet::new();
    for item in items {
        let quoted = item.split('`').skip(1).step_by(2);
        let mut object = "";
        for name in quoted {
            match name.strip_prefix('.') {
                Some(rest) => types.insert(format!("{object}.{rest}")),
                None => {
                    object = name.rsplit_once('.').map_or(name, |(object, _)| object);
                    types.insert(name.to_owned())
                }
            };
        }
    }
    types
}

#[test]
fn the_readme_lists_the_events_that_the_worker_handles() {
    let readme = include_str!("../../../README.md");
    let of_stripe = |kind: &&EventType| !kind.is_thin() && **kind != EventType::CheckoutSessionTold;
    let handled = EventType::ALL.iter().filter(of_stripe);
    let handled: BTreeSet<String> = handled.map(|kind| kind.as_str().to_owned()).collect();
    assert_eq!(listed(readme), handled);
}
