//! Which rows a run is asked for.

use super::{Kind, Row, all};
use crate::{Outcome, fail};
use std::cmp::Reverse;
use std::time::Duration;

/// What a part of the rows that are not core should take: with the core and what comes before it, `make test` stays
/// within three quarters of an hour on two cores.
const PART: Duration = Duration::from_secs(300);
/// Rows of these kinds need a cluster that no core row needs.
const BRING_UP: Duration = Duration::from_secs(45);

/// Rows by names or by ids of the fault catalogue, with commas; `core`, `all`, or `slice:<text>` (a part of what is not
/// core, by the text).
///
/// # Errors
/// A name is not known: the ones that are.
pub fn choose(wanted: &str) -> Outcome<Vec<&'static Row>> {
    let mut chosen: Vec<&'static Row> = Vec::new();
    for word in wanted.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let found: Vec<&'static Row> = match word {
            "all" => all().collect(),
            "core" => all().filter(|row| row.core).collect(),
            _ => match word.strip_prefix("slice:") {
                Some(text) => slice(text),
                None => all().filter(|row| row.name.eq_ignore_ascii_case(word) || row.has_id(word)).collect(),
            },
        };
        if found.is_empty() {
            let names: Vec<&str> = all().map(|row| row.name).collect();
            return fail(format!("there is no row {word:?}; there are core, all, {}", names.join(", ")));
        }
        chosen.extend(found);
    }
    let mut ordered: Vec<&'static Row> = all().filter(|row| chosen.iter().any(|one| one.name == row.name)).collect();
    // Stable: within a kind the order of the table.
    ordered.sort_by_key(|row| row.kind);
    Ok(ordered)
}

impl Row {
    /// Whether it injects the catalogue's fault of this id, such as `P03`; in either case.
    fn has_id(&self, id: &str) -> bool {
        let begins = self.name.split_once('-').is_some_and(|(first, _)| first.eq_ignore_ascii_case(id));
        // `vip-removed` does not inject a fault called "vip".
        let is_id = id.len() == 3 && id.is_ascii() && id[1..].bytes().all(|byte| byte.is_ascii_digit());
        is_id && (begins || self.covers.iter().any(|covered| covered.eq_ignore_ascii_case(id)))
    }

    fn cost(&self) -> Duration {
        self.takes
            + match self.kind {
                Kind::Quorum | Kind::Search => Duration::ZERO,
                Kind::Strict | Kind::Async => BRING_UP,
            }
    }
}

/// One of the parts, by the text.
fn slice(text: &str) -> Vec<&'static Row> {
    let mut parts = parts();
    // FNV-1a: the same commit chooses the same part everywhere.
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let count = u64::try_from(parts.len()).unwrap_or(1).max(1);
    let index = usize::try_from(hash % count).unwrap_or(0);
    if parts.is_empty() { Vec::new() } else { parts.swap_remove(index).1 }
}

/// All that is not core in parts of about the same length, with that length.
fn parts() -> Vec<(Duration, Vec<&'static Row>)> {
    let mut rest: Vec<&'static Row> = all().filter(|row| !row.core).collect();
    rest.sort_by_key(|row| Reverse(row.cost()));
    let total: Duration = rest.iter().map(|row| row.cost()).sum();
    let count = total.as_secs().div_ceil(PART.as_secs());
    let mut parts: Vec<(Duration, Vec<&'static Row>)> = (0..count).map(|_| Default::default()).collect();
    for row in rest {
        if let Some((length, rows)) = parts.iter_mut().min_by_key(|(length, _)| *length) {
            *length += row.cost();
            rows.push(row);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn rows_have_names_of_their_own() {
        for row in all() {
            assert_eq!(all().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
        }
    }

    #[test]
    fn the_parts_make_all_that_is_not_core_and_none_is_long() {
        let parts = parts();
        let names: Vec<&str> = parts.iter().flat_map(|(_, rows)| rows).map(|row| row.name).collect();
        let wanted: BTreeSet<&str> = all().filter(|row| !row.core).map(|row| row.name).collect();
        assert_eq!(names.len(), wanted.len());
        assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), wanted);
        for (length, rows) in &parts {
            let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
            assert!(*length <= Duration::from_secs(360), "{length:?}: {names:?}");
        }
    }

    #[test]
    fn every_part_is_some_commits_turn() {
        let turns: BTreeSet<&str> =
            (0..500).filter_map(|n| slice(&format!("{n:040x}")).first().map(|r| r.name)).collect();
        assert_eq!(turns.len(), parts().len());
    }

    #[test]
    fn an_unknown_row_is_refused_and_a_known_one_comes_once() {
        assert!(choose("promote,nothing-such").is_err());
        assert!(choose("vip").is_err());
        let promote = choose("promote,core,promote").expect("known");
        assert_eq!(promote.iter().filter(|row| row.name == "promote").count(), 1);
    }

    #[test]
    fn an_id_chooses_every_row_of_its_fault() {
        let of = |id| choose(id).expect("known").iter().map(|row| row.name).collect::<Vec<_>>();
        assert_eq!(of("n02"), of("N02"));
        assert_eq!(of("N02"), ["leader-cut"]);
        assert!(of("P03").len() == 6 && of("P03").contains(&"daemon-stopped"), "{:?}", of("P03"));
    }
}
