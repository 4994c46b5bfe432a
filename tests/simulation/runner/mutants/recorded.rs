//! The first seed that found each bug: `mutants.txt`, written by `RECORD=1 make mutants`.

use leaderl_decision::planted::Planted;
use std::collections::BTreeMap;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simulation/mutants.txt");

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) bug: Planted,
    pub(super) seed: u64,
    pub(super) invariant: String,
}

/// All lines that name a bug.
pub(super) fn read() -> Vec<Recorded> {
    let text = std::fs::read_to_string(FILE).unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let bug = Planted::named(words.next()?)?;
        Some(Recorded { bug, seed: words.next()?.parse().ok()?, invariant: words.next()?.to_owned() })
    };
    text.lines().filter_map(line).collect()
}

/// Replaces the lines of these bugs and keeps the others.
pub(super) fn write<'a>(news: impl Iterator<Item = (Planted, u64, &'a str)>) -> std::io::Result<()> {
    let mut lines: BTreeMap<Planted, (u64, String)> =
        read().into_iter().map(|it| (it.bug, (it.seed, it.invariant))).collect();
    lines.extend(news.map(|(bug, seed, invariant)| (bug, (seed, invariant.to_owned()))));
    let mut text =
        "# The first seed that found each planted bug: name, seed, invariant. `RECORD=1 make mutants` writes it.\n"
            .to_owned();
    for (bug, (seed, invariant)) in lines {
        text += &format!("{} {seed} {invariant}\n", bug.name());
    }
    std::fs::write(FILE, text)
}
