//! What has no order in OTP is brought into one.

use serde_json::{Value, json};

/// The entry with its events sorted, if they have no order.
pub fn of_entry(entry: &Value) -> Value {
    let mut entry = entry.clone();
    if entry.get("order") == Some(&json!("any"))
        && let Some(events) = entry.get_mut("events").and_then(Value::as_array_mut)
    {
        events.sort_by_key(Value::to_string);
    }
    entry
}

/// Whether a supervisor was killed: its children get their signals all at once.
pub fn has_no_order(events: &[Value]) -> bool {
    events.iter().any(|event| event[0] == "supervisor_down" && event[2] == "killed")
}

/// The children of a dynamic supervisor are stopped together: each run of their ends is sorted by the child's name.
pub fn of_dynamic(mut events: Vec<Value>, mut dynamic: Vec<String>) -> Vec<Value> {
    dynamic.sort_by_key(|path| (path.len(), path.clone()));
    for path in dynamic {
        let prefix = format!("{path}/");
        let mut from = 0;
        while from < events.len() {
            let run = events[from..].iter().take_while(|event| label(&prefix, event).is_some()).count();
            events[from..from + run].sort_by_key(|event| label(&prefix, event));
            from += run.max(1);
        }
    }
    events
}

/// The name of the dynamic child that this end belongs to.
fn label(prefix: &str, event: &Value) -> Option<String> {
    let kind = event[0].as_str()?;
    if !["child_terminating", "child_down", "supervisor_down"].contains(&kind) {
        return None;
    }
    let below = event[1].as_str()?.strip_prefix(prefix)?;
    below.split(['/', '#']).next().map(str::to_owned)
}
