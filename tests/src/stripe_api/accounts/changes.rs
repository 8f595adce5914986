//! Changes of an account, with the events that tell of them.

use serde_json::{Map, Value};

use super::v2_view::{PARTS, view};
use crate::stripe_api::state::{PLATFORM, State};

impl State {
    /// Changes an account and makes the events about it. Does nothing where there is
    /// no such account, or nothing has changed.
    pub(in crate::stripe_api) fn change_account(
        &mut self,
        id: &str,
        change: impl FnOnce(&mut Value),
    ) {
        let Some(before) = self.account(id).cloned() else {
            return;
        };
        let all: Vec<String> = PARTS.map(str::to_owned).to_vec();
        let seen_before = view(self, id, &all).unwrap_or_default();
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return;
        }
        self.put(PLATFORM, "account", after.clone());
        if self.options.snapshot_events {
            let previous = difference(&before, &after);
            self.emit_update(id, "account.updated", &after, Some(previous));
        }
        if self.v2.get(id).is_some_and(|extras| extras["made"] == true) {
            let seen = view(self, id, &all).unwrap_or_default();
            self.tell_thinly(id, &seen_before, &seen);
        }
    }

    /// Makes a thin event for each part that has changed.
    fn tell_thinly(&mut self, id: &str, before: &Value, after: &Value) {
        for part in [
            "requirements",
            "future_requirements",
            "identity",
            "defaults",
        ] {
            if before[part] != after[part] {
                self.emit_thin(id, &format!("v2.core.account[{part}].updated"), None);
            }
        }
        for name in ["merchant", "recipient", "customer"] {
            let (before, after) = (
                &before["configuration"][name],
                &after["configuration"][name],
            );
            let kind = |what: &str| format!("v2.core.account[configuration.{name}].{what}");
            for capability in changed(&before["capabilities"], &after["capabilities"], "") {
                let data = serde_json::json!({ "updated_capability": capability });
                self.emit_thin(id, &kind("capability_status_updated"), Some(data));
            }
            if without(before, "capabilities") != without(after, "capabilities") {
                self.emit_thin(id, &kind("updated"), None);
            }
        }
        let own = ["contact_email", "dashboard", "display_name", "metadata"];
        if own.iter().any(|&name| before[name] != after[name]) {
            self.emit_thin(id, "v2.core.account.updated", None);
        }
    }
}

fn without(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    if let Some(object) = object.as_object_mut() {
        object.remove(name);
    }
    object
}

/// The names of the capabilities whose status has changed, with dots in those that
/// lie in another object.
fn changed(before: &Value, after: &Value, around: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (name, now) in after.as_object().into_iter().flatten() {
        let then = &before[name];
        let name = if around.is_empty() {
            name.clone()
        } else {
            format!("{around}.{name}")
        };
        if now["status"].is_string() {
            if now != then {
                names.push(name);
            }
        } else {
            names.extend(changed(then, now, &name));
        }
    }
    names
}

/// What the object had before, where it has something else now: nested objects are
/// compared by their fields, lists as wholes. A field that is new was null.
pub(in crate::stripe_api) fn difference(before: &Value, after: &Value) -> Value {
    let mut previous = Map::new();
    for (name, now) in after.as_object().into_iter().flatten() {
        let then = &before[name];
        if now == then {
            continue;
        }
        let then = match (then, now) {
            (Value::Object(_), Value::Object(_)) => difference(then, now),
            _ => then.clone(),
        };
        previous.insert(name.clone(), then);
    }
    for (name, then) in before.as_object().into_iter().flatten() {
        if after.get(name).is_none() {
            previous.insert(name.clone(), then.clone());
        }
    }
    previous.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::difference;

    #[test]
    fn a_difference_holds_the_old_values_of_changed_fields_only() {
        let before = json!({ "a": 1, "b": { "c": [1], "d": 2 }, "same": {}, "gone": true });
        let after = json!({ "a": 2, "b": { "c": [1, 2], "d": 2 }, "same": {}, "new": 1 });
        assert_eq!(
            difference(&before, &after),
            json!({ "a": 1, "b": { "c": [1] }, "gone": true, "new": null })
        );
    }
}
