//! What a run showed, as JSON and for people.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The judgement over one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Acknowledgements, each synced to the log outside the nodes.
    pub acknowledged: u64,
    /// Attempts a read-only node refused.
    pub refused: u64,
    /// Attempts without a trustworthy answer; their rows may exist or not.
    pub unknown: u64,
    /// Rows of this run, by the node they were read from.
    pub found: BTreeMap<String, u64>,
    /// Acknowledged rows that are missing, by node read; the first hundred.
    pub lost: BTreeMap<String, Vec<RowName>>,
    /// How many are missing, by node read.
    pub lost_count: BTreeMap<String, u64>,
    /// Rows that exist more than once, by node read; the first hundred.
    pub duplicates: BTreeMap<String, Vec<RowName>>,
    /// Rows nobody attempted to write.
    pub invented: u64,
    /// Who acknowledged when, in order of time.
    pub reigns: Vec<Reign>,
    /// Pairs of reigns that overlapped, or that came in the wrong order.
    pub two_writers: Vec<Overlap>,
    /// The longest time without any acknowledgement, ms.
    pub silence_ms: f64,
    /// When that began, CLOCK_BOOTTIME ns.
    pub silence_from_ns: u64,
    /// The longest time between two acknowledgements of one client, by route (the worst client of each), ms.
    pub silence_by_route_ms: BTreeMap<String, f64>,
    /// What was asked on each route.
    pub asked_by_route: BTreeMap<String, Asked>,
    /// Time from sending to the answer of acknowledged rows, ms: median, 99th percentile, greatest.
    pub latency_ms: Latency,
    /// Rows acknowledged per second, over the run.
    pub per_second: f64,
}

/// Identity of a row within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowName {
    /// Client.
    pub client: u32,
    /// The client's number for it.
    pub seq: u64,
}

/// The time between the first and the last acknowledgement of one node on one timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reign {
    /// The server's host name.
    pub node: String,
    /// Its timeline; one epoch is one timeline.
    pub timeline: u32,
    /// First acknowledgement, CLOCK_BOOTTIME ns.
    pub first_ns: u64,
    /// Last acknowledgement, CLOCK_BOOTTIME ns.
    pub last_ns: u64,
    /// How many.
    pub rows: u64,
}

/// Two reigns that must not be as they were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// The lower timeline.
    pub older: Reign,
    /// The higher one, or another node on the same timeline.
    pub newer: Reign,
    /// How long the older went on after the newer began, ms.
    pub overlap_ms: f64,
}

/// What was asked on one route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Attempts.
    pub attempts: u64,
    /// Of them acknowledged.
    pub acknowledged: u64,
    /// When the last of those was answered, CLOCK_BOOTTIME ns; 0: none.
    pub last_ns: u64,
    /// Median time from one attempt of a client to its next, ms.
    pub pace_ms: f64,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Greatest.
    pub max: f64,
}

impl Report {
    /// No row lost anywhere, none twice, none invented, never two writers, and something was acknowledged at all.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults().is_empty()
    }

    /// What is wrong, one sentence each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.acknowledged == 0 {
            faults.push("nothing was acknowledged, so the run proves nothing".into());
        }
        for (node, count) in self.lost_count.iter().filter(|(_, count)| **count > 0) {
            faults.push(format!("{count} acknowledged rows are missing on {node}"));
        }
        for (node, rows) in self.duplicates.iter().filter(|(_, rows)| !rows.is_empty()) {
            let first = rows[0];
            faults.push(format!(
                "{} rows exist twice on {node}, first: client {} row {}",
                rows.len(),
                first.client,
                first.seq
            ));
        }
        if self.invented > 0 {
            faults.push(format!("{} rows exist that no client sent", self.invented));
        }
        for Overlap { older, newer, overlap_ms } in &self.two_writers {
            faults.push(format!(
                "two writers for {overlap_ms:.0} ms: {} (timeline {}) still acknowledged after {} (timeline {}) had begun",
                older.node, older.timeline, newer.node, newer.timeline
            ));
        }
        faults
    }

    /// Rows missing from the node that misses the most.
    #[must_use]
    pub fn worst_loss(&self) -> u64 {
        self.lost_count.values().copied().max().unwrap_or(0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "rows: {} acknowledged ({:.0}/s), {} lost, {} refused, {} without answer",
            self.acknowledged,
            self.per_second,
            self.worst_loss(),
            self.refused,
            self.unknown
        )?;
        for (node, count) in &self.found {
            writeln!(f, "  found on {node}: {count}")?;
        }
        for reign in &self.reigns {
            writeln!(f, "  timeline {} on {}: {} rows", reign.timeline, reign.node, reign.rows)?;
        }
        writeln!(
            f,
            "longest silence: {:.0} ms; latency p50 {:.1} ms, p99 {:.1} ms, max {:.0} ms",
            self.silence_ms, self.latency_ms.p50, self.latency_ms.p99, self.latency_ms.max
        )?;
        for (route, silence) in &self.silence_by_route_ms {
            writeln!(f, "  {route}: {silence:.0} ms")?;
        }
        for fault in self.faults() {
            writeln!(f, "WRONG: {fault}")?;
        }
        Ok(())
    }
}
