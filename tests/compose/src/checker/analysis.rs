//! Pure judgement: what the clients were told against what the nodes hold.

use super::record::{Answer, Attempt};
use super::report::{Asked, Latency, Overlap, Reign, Report, RowName};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How many rows are named in a report.
const NAMED: usize = 100;

/// Judges a run. `rows` holds, for each node read, the name of every row of the run, as often as it exists.
#[must_use]
pub fn judge(attempts: &[Attempt], rows: &BTreeMap<String, Vec<RowName>>) -> Report {
    let acknowledged: Vec<&Attempt> = attempts.iter().filter(|a| a.answer == Answer::Acknowledged).collect();
    let count = |answer| attempts.iter().filter(|a| a.answer == answer).count() as u64;
    let mut report = Report {
        acknowledged: acknowledged.len() as u64,
        refused: count(Answer::Refused),
        unknown: count(Answer::Unknown),
        reigns: reigns(&acknowledged),
        asked_by_route: asked(attempts),
        latency_ms: latency(&acknowledged),
        ..Report::default()
    };
    report.two_writers = overlaps(&report.reigns);
    silences(&acknowledged, &mut report);
    compare_rows(attempts, &acknowledged, rows, &mut report);
    report
}

fn name(attempt: &Attempt) -> RowName {
    RowName { client: attempt.client, seq: attempt.seq }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Lost, duplicate and invented rows.
fn compare_rows(
    attempts: &[Attempt],
    acknowledged: &[&Attempt],
    rows: &BTreeMap<String, Vec<RowName>>,
    report: &mut Report,
) {
    let attempted: HashSet<RowName> = attempts.iter().map(name).collect();
    for (node, found) in rows {
        let mut times: HashMap<RowName, u32> = HashMap::new();
        for row in found {
            *times.entry(*row).or_default() += 1;
        }
        let lost: Vec<RowName> = acknowledged.iter().map(|a| name(a)).filter(|row| !times.contains_key(row)).collect();
        let mut twice: Vec<RowName> = times.iter().filter(|(_, n)| **n > 1).map(|(row, _)| *row).collect();
        twice.sort_unstable();
        // The same row on three nodes is one invention.
        report.invented = report.invented.max(times.keys().filter(|row| !attempted.contains(row)).count() as u64);
        report.found.insert(node.clone(), times.len() as u64);
        report.lost_count.insert(node.clone(), lost.len() as u64);
        report.lost.insert(node.clone(), lost.into_iter().take(NAMED).collect());
        report.duplicates.insert(node.clone(), twice.into_iter().take(NAMED).collect());
    }
}

/// One reign for each (node, timeline), by first acknowledgement.
fn reigns(acknowledged: &[&Attempt]) -> Vec<Reign> {
    let mut by_writer: BTreeMap<(u32, &str), Reign> = BTreeMap::new();
    for attempt in acknowledged {
        let at = attempt.answered_ns;
        let reign = by_writer.entry((attempt.timeline, &attempt.node)).or_insert_with(|| Reign {
            node: attempt.node.clone(),
            timeline: attempt.timeline,
            first_ns: at,
            last_ns: at,
            rows: 0,
        });
        reign.first_ns = reign.first_ns.min(at);
        reign.last_ns = reign.last_ns.max(at);
        reign.rows += 1;
    }
    let mut reigns: Vec<Reign> = by_writer.into_values().collect();
    reigns.sort_by_key(|reign| reign.first_ns);
    reigns
}

/// Every pair where a lower timeline acknowledged after a higher one had begun, or two nodes shared a timeline at one time.
fn overlaps(reigns: &[Reign]) -> Vec<Overlap> {
    let mut found = Vec::new();
    for (index, a) in reigns.iter().enumerate() {
        for b in &reigns[index + 1..] {
            let (older, newer) = if b.timeline < a.timeline { (b, a) } else { (a, b) };
            if older.last_ns > newer.first_ns {
                let overlap_ms = ms(older.last_ns - newer.first_ns);
                found.push(Overlap { older: older.clone(), newer: newer.clone(), overlap_ms });
            }
        }
    }
    found
}

/// The longest pauses. Sticky sessions are silent by design and do not count.
fn silences(acknowledged: &[&Attempt], report: &mut Report) {
    let mut all: Vec<u64> = Vec::new();
    let mut by_client: BTreeMap<u32, (&str, Vec<u64>)> = BTreeMap::new();
    for attempt in acknowledged.iter().filter(|a| !a.route.starts_with("sticky:")) {
        all.push(attempt.answered_ns);
        by_client.entry(attempt.client).or_insert((&attempt.route, Vec::new())).1.push(attempt.answered_ns);
    }
    let (from, longest) = longest_pause(&mut all);
    report.silence_from_ns = from;
    report.silence_ms = ms(longest);
    if let (Some(first), Some(last)) = (all.first(), all.last())
        && last > first
    {
        report.per_second = acknowledged.len() as f64 / ((last - first) as f64 / 1e9);
    }
    for (route, mut times) in by_client.into_values() {
        let (_, longest) = longest_pause(&mut times);
        let worst = report.silence_by_route_ms.entry(route.into()).or_default();
        *worst = worst.max(ms(longest));
    }
}

/// Sorts, and returns where the longest pause began and how long it was.
fn longest_pause(times: &mut [u64]) -> (u64, u64) {
    times.sort_unstable();
    times.windows(2).map(|pair| (pair[0], pair[1] - pair[0])).max_by_key(|(_, pause)| *pause).unwrap_or((0, 0))
}

fn asked(attempts: &[Attempt]) -> BTreeMap<String, Asked> {
    let mut asked: BTreeMap<String, Asked> = BTreeMap::new();
    let mut sent: BTreeMap<&str, BTreeMap<u32, Vec<u64>>> = BTreeMap::new();
    for attempt in attempts {
        let route = asked.entry(attempt.route.clone()).or_default();
        route.attempts += 1;
        if attempt.answer == Answer::Acknowledged {
            route.acknowledged += 1;
            route.last_ns = route.last_ns.max(attempt.answered_ns);
        }
        sent.entry(&attempt.route).or_default().entry(attempt.client).or_default().push(attempt.sent_ns);
    }
    for (route, clients) in sent {
        let mut pauses: Vec<u64> = Vec::new();
        for mut times in clients.into_values() {
            times.sort_unstable();
            pauses.extend(times.windows(2).map(|pair| pair[1] - pair[0]));
        }
        pauses.sort_unstable();
        if let (Some(route), Some(median)) = (asked.get_mut(route), pauses.get(pauses.len() / 2)) {
            route.pace_ms = ms(*median);
        }
    }
    asked
}

fn latency(acknowledged: &[&Attempt]) -> Latency {
    let mut times: Vec<u64> = acknowledged.iter().map(|a| a.answered_ns.saturating_sub(a.sent_ns)).collect();
    times.sort_unstable();
    let at = |share: f64| {
        let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(index).copied().map_or(0.0, ms)
    };
    Latency { p50: at(0.5), p99: at(0.99), max: at(1.0) }
}

#[cfg(test)]
mod tests;
