//! The engine's JSON in the plan's words. What is missing is missing; nothing here fails.

use leaderl_decision::model::NodeId;
use leaderl_decision::search_plan::render::{FINGERPRINT_ATTRIBUTE, QUORUM_ATTRIBUTE};
use leaderl_decision::search_plan::{Colour, Engine, EngineState, Voting};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One state from the answers to `/`, `_cluster/health`, `_cluster/state` and (zen1) `_cluster/settings`.
pub(super) fn state(engine: Engine, about: &Value, health: &Value, state: &Value, settings: &Value) -> EngineState {
    let my_name = text(about, "/name").unwrap_or_default();
    let master_id = text(state, "/cluster_manager_node").or_else(|| text(state, "/master_node"));
    let empty = serde_json::Map::new();
    let nodes = state.get("nodes").and_then(Value::as_object).unwrap_or(&empty);
    let mine = nodes.values().find(|node| text(node, "/name").as_deref() == Some(&my_name)).unwrap_or(&Value::Null);
    let name_of = |node: &Value| text(node, "/name").map(NodeId);
    EngineState {
        version: text(about, "/version/number").unwrap_or_default(),
        cluster_name: text(about, "/cluster_name").unwrap_or_default(),
        cluster_uuid: text(state, "/metadata/cluster_uuid").filter(|uuid| uuid != "_na_"),
        colour: colour(health),
        nodes: nodes.iter().filter_map(|(id, node)| Some((id.clone(), name_of(node)?))).collect::<BTreeMap<_, _>>(),
        master: master_id.and_then(|id| nodes.get(&id)).and_then(name_of),
        fingerprint: text(mine, &format!("/attributes/{FINGERPRINT_ATTRIBUTE}")),
        start_quorum: text(mine, &format!("/attributes/{QUORUM_ATTRIBUTE}")).and_then(|n| n.parse().ok()),
        quorum: quorum(settings),
        voting: if engine.has_quorum_setting() { None } else { voting(state) },
    }
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

fn colour(health: &Value) -> Colour {
    match health.get("status").and_then(Value::as_str) {
        Some("green") => Colour::Green,
        Some("yellow") => Colour::Yellow,
        Some("red") => Colour::Red,
        Some(_) | None => Colour::Unknown,
    }
}

fn quorum(settings: &Value) -> Option<u32> {
    ["transient", "persistent"]
        .iter()
        .find_map(|level| settings.get(level)?.get("discovery.zen.minimum_master_nodes")?.as_str()?.parse().ok())
}

fn voting(state: &Value) -> Option<Voting> {
    let coordination = state.pointer("/metadata/cluster_coordination")?;
    let strings = |value: &Value| value.as_str().map(str::to_owned);
    let list = |name: &str| coordination.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    Some(Voting {
        committed: list("last_committed_config").iter().filter_map(strings).collect::<BTreeSet<_>>(),
        excluded: list("voting_config_exclusions")
            .iter()
            .filter_map(|exclusion| exclusion.get("node_id").and_then(strings))
            .collect(),
    })
}
