//! `/metrics` in Prometheus' text format.

use super::facts::Facts;
use leaderl_decision::postgres_report::PostgresState;
use std::fmt::Write;

struct Page {
    text: String,
}

impl Page {
    fn gauge(&mut self, name: &str, help: &str, samples: &[(String, f64)]) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP leaderl_{name} {help}\n# TYPE leaderl_{name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(self.text, "leaderl_{name}{labels} {value}");
        }
    }

    fn one(&mut self, name: &str, help: &str, value: f64) {
        self.gauge(name, help, &[(String::new(), value)]);
    }
}

fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{{{name}=\"{value}\"}}")
}

fn truth(fact: bool) -> f64 {
    if fact { 1.0 } else { 0.0 }
}

/// The whole page, from memory.
#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are floating-point")]
pub fn render(facts: &dyn Facts) -> String {
    let board = facts.board();
    let now = facts.now();
    let mut page = Page { text: String::new() };
    page.gauge("info", "The running version.", &[(label("version", env!("CARGO_PKG_VERSION")), 1.0)]);
    page.one("uptime_seconds", "Age of the daemon.", now.since(board.started_at).as_secs_f64());
    let election = board.election.borrow().clone();
    let serves = election.serves && now < election.serves_until;
    page.one("holds_key", "First fact: this node holds the leader key.", truth(election.holds_key));
    page.one("writable", "Second fact: its PostgreSQL is writable.", truth(election.writable));
    page.one("serves", "Third fact: clients are let in.", truth(serves));
    page.one("epoch", "The newest epoch known.", election.epoch.0 as f64);
    page.gauge("state", "The election's state.", &[(label("state", &election.state), 1.0)]);
    let reasons =
        election.reasons.iter().map(|(reason, since)| (label("code", &reason.code), now.since(*since).as_secs_f64()));
    page.gauge("not_leading_seconds", "Why this node does not lead, and for how long.", &reasons.collect::<Vec<_>>());
    cluster(&mut page, facts);
    postgres(&mut page, facts);
    let health = board.health.borrow().clone();
    let each = |value: fn(&crate::board::HealthView) -> f64| -> Vec<(String, f64)> {
        health.iter().map(|(service, view)| (label("service", &service.to_string()), value(view))).collect()
    };
    page.gauge("health_failures", "Checks in a row that failed.", &each(|view| f64::from(view.failures)));
    page.gauge("health_tripped", "The service counts as failed.", &each(|view| truth(view.tripped)));
    let search = board.search.borrow().clone();
    page.one("search_nodes", "Nodes the search engine sees.", f64::from(search.nodes));
    page.one("search_has_master", "It knows a master.", truth(search.has_master));
    let vip = board.vip.borrow().clone();
    page.one("vips_configured", "Addresses in the settings.", vip.configured.len() as f64);
    page.one("vips_bound", "Addresses bound here.", vip.bound.len() as f64);
    let gate = board.gate.borrow().clone();
    page.one("port_gate_kept", "heart keeps the port gate.", truth(matches!(gate.state.as_str(), "open" | "shut")));
    page.one("port_gate_open", "Clients pass it.", truth(gate.state == "open"));
    page.text
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are floating-point")]
fn cluster(page: &mut Page, facts: &dyn Facts) {
    let view = facts.board().cluster.borrow().clone();
    let now = facts.now();
    page.one("etcd_heard_seconds", "Time since etcd last answered.", now.since(view.heard_at).as_secs_f64());
    page.one("etcd_revision", "The newest revision seen.", view.revision.0 as f64);
    page.one("failover_enabled", "The cluster's failover switch.", truth(view.cluster_failover_on()));
    let voters = view.voters.as_ref().map_or(0, |seen| seen.record.voters.len());
    page.one("voters", "Followers that acknowledged commits are promised on; 0: degraded.", voters as f64);
    let ages: Vec<_> = view
        .nodes
        .iter()
        .map(|(node, seen)| (label("node", &view.name_of(node)), now.since(seen.at).as_secs_f64()))
        .collect();
    page.gauge("node_status_age_seconds", "Age of each node's posted status.", &ages);
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are floating-point")]
fn postgres(page: &mut Page, facts: &dyn Facts) {
    let postgres = facts.board().postgres.borrow().clone();
    if let Some(position) = postgres.position {
        page.one("postgres_position_bytes", "The newest known WAL position.", position.lsn.0 as f64);
        page.one("postgres_timeline", "Its timeline.", f64::from(position.timeline.0));
    }
    page.one("postgres_unsynced", "The copy is marked as incomplete.", truth(postgres.unsynced.is_some()));
    if let PostgresState::Primary(primary) = &postgres.state {
        let view = facts.board().cluster.borrow().clone();
        let lags: Vec<_> = primary
            .followers
            .iter()
            .map(|(node, row)| (label("node", &view.name_of(node)), primary.flushed.ahead_of(row.flushed).0 as f64))
            .collect();
        page.gauge("follower_lag_bytes", "How far each streaming follower is behind.", &lags);
    }
}
