//! The repository's own rules, as far as a scanner can hold them. What it says names file, line and rule.
//!
//! It reads text, not types: comments, strings and characters are blanked first, so that only code counts. Rules that need
//! types are lints (`[workspace.lints]`), and rules about one room stand in that room's tests.

use leaderl::tree::{Branch, Child, LEADERL};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

#[path = "tidy/election_events.rs"]
mod election_events;
#[path = "tidy/election_states.rs"]
mod election_states;
#[path = "tidy/renewal_states.rs"]
mod renewal_states;
#[path = "tidy/scan.rs"]
mod scan;
#[path = "tidy/states_drawn.rs"]
mod states_drawn;
#[path = "tidy/voters_states.rs"]
mod voters_states;
use scan::{Source, blank, files, functions, has_word, line_of, names_after, outer_arms, relative, root, sources};

const LONGEST_FILE: usize = 400;
const LONGEST_FUNCTION: usize = 70;

#[test]
fn files_stay_short() {
    let long = |source: &Source| {
        let lines = source.text.lines().count();
        (lines > LONGEST_FILE).then(|| format!("{}: {lines} lines, more than {LONGEST_FILE}", source.name))
    };
    report("files", sources(&["."]).iter().filter_map(long));
}

#[test]
fn functions_stay_short() {
    let long = |source: &Source| {
        let functions = functions(&source.code).into_iter().filter(|f| f.lines > LONGEST_FUNCTION);
        let name = source.name.clone();
        functions.map(move |f| format!("{name}:{}: `{}` has {} lines", f.line, f.name, f.lines)).collect::<Vec<_>>()
    };
    report("functions", sources(&["."]).iter().flat_map(long));
}

#[test]
fn the_actors_folders_are_the_supervision_tree() {
    let actors = root().join("src/actors");
    let mut wrong = Vec::new();
    let mut folders = BTreeMap::new();
    collect(&LEADERL, "", &mut folders);
    for (folder, workers) in &folders {
        for worker in workers {
            let file = actors.join(folder).join(format!("{worker}.rs"));
            if !file.is_file() {
                wrong.push(format!("{}: the tree has `{worker}` below `{folder}`, and no such file", relative(&file)));
            }
        }
        for source in sources(&[&format!("src/actors/{folder}")]) {
            let path = Path::new(&source.name);
            let is_actor_file = path.parent() == Some(Path::new("src/actors").join(folder).as_path())
                && workers.iter().any(|worker| path.file_stem() == Some(worker.as_ref()));
            if !is_actor_file && !source.is_test() && source.code.contains("impl Actor for") {
                wrong.push(format!("{}: an actor that the tree does not declare", source.name));
            }
        }
    }
    for entry in fs::read_dir(&actors).expect("src/actors is there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !folders.contains_key(&name) {
            wrong.push(format!("src/actors/{name}: no supervisor of this name"));
        }
    }
    report("layout", wrong);
}

fn collect(branch: &Branch, folder: &str, folders: &mut BTreeMap<String, BTreeSet<String>>) {
    for child in branch.children {
        match child {
            Child::Supervisor(inner) => {
                let name = inner.id.map(|id| id.to_string()).unwrap_or_default();
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                folders.entry(path.clone()).or_default();
                collect(inner, &path, folders);
            }
            Child::Worker(actor, _) => {
                // One file serves every instance: `health(etcd)` is `health.rs`.
                let file = actor.to_string().split('(').next().unwrap_or_default().to_owned();
                folders.entry(folder.to_owned()).or_default().insert(file);
            }
        }
    }
}

/// What decides and acts in a simulated node is the product; the simulation implements ports.
#[test]
fn the_simulation_has_no_actors() {
    const FORBIDDEN: &[&str] = &["impl Actor for", "impl ractor::Actor", "ractor::", "use ractor", "election::step"];
    let mut wrong = Vec::new();
    for source in sources(&["tests/simulation"]) {
        for (number, line) in source.code.lines().enumerate() {
            for word in FORBIDDEN.iter().filter(|word| line.contains(*word)) {
                wrong.push(format!("{}:{}: `{word}`: the simulation implements ports only", source.name, number + 1));
            }
        }
    }
    report("simulation", wrong);
}

#[test]
fn decisions_have_no_clock_no_runtime_and_no_world() {
    const FORBIDDEN: &[&str] = &[
        "Instant",
        "SystemTime",
        "std::fs",
        "std::env",
        "std::process",
        "std::thread",
        "std::io",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "UnixStream",
        "tokio",
        "rand::",
        "async fn",
        ".await",
        "println!",
        "tracing",
        "unsafe",
    ];
    let mut wrong = Vec::new();
    for source in sources(&["src/decision"]).iter().filter(|source| !source.is_test()) {
        for (number, line) in source.code.lines().enumerate() {
            for word in FORBIDDEN.iter().filter(|word| has_word(line, word)) {
                wrong.push(format!("{}:{}: `{word}` in a decision", source.name, number + 1));
            }
        }
    }
    let manifest = fs::read_to_string(root().join("src/decision/Cargo.toml")).expect("the manifest is there");
    let mut section = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
        let allowed =
            ["serde", "serde_json", "thiserror"].contains(&name) || name.is_empty() || name.starts_with(['#', '[']);
        if section == "[dependencies]" && !allowed {
            wrong.push(format!("src/decision/Cargo.toml: `{name}` is not a crate for pure decisions"));
        }
    }
    report("purity", wrong);
}

#[test]
fn every_select_says_its_order() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "supervisors", "tests"]) {
        for (at, found) in source.code.match_indices("select!") {
            let after = source.code[at + found.len()..].trim_start();
            let body = after.strip_prefix(['{', '(']).unwrap_or_default().trim_start();
            if !after.is_empty() && after.starts_with(['{', '(']) && !body.starts_with("biased;") {
                wrong.push(format!("{}:{}: `select!` without `biased;`", source.name, line_of(&source.code, at)));
            }
        }
    }
    report("select", wrong);
}

/// A small heuristic: a `match` in the decisions that names variants of a decision's enum has no `_ =>` arm beside them.
#[test]
fn decisions_match_their_own_enums_without_a_wildcard() {
    let sources = sources(&["src/decision"]);
    let enums: BTreeSet<String> = sources.iter().flat_map(|source| names_after(&source.code, "enum ")).collect();
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        for (at, _) in source.code.match_indices("match ") {
            let Some(open) = source.code[at..].find('{').map(|brace| at + brace) else { continue };
            let arms = outer_arms(&source.code[open..]);
            let own = |arm: &str| enums.iter().any(|name| arm.contains(&format!("{name}::"))) || arm.contains("Self::");
            if arms.iter().any(|arm| arm.trim() == "_") && arms.iter().any(|arm| own(arm)) {
                wrong.push(format!("{}:{}: `_ =>` over our own enum", source.name, line_of(&source.code, at)));
            }
        }
    }
    report("wildcards", wrong);
}

#[test]
fn generated_documents_are_fresh() {
    fresh("docs/supervision-tree.md", &leaderl::tree::drawn());
    fresh("docs/election-states.md", &states_drawn::drawn());
}

/// Compares a document with what generates it; `UPDATE_DOCS=1` writes it instead.
fn fresh(name: &str, wanted: &str) {
    let path = root().join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, wanted).expect("the document can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{name} is stale: run `UPDATE_DOCS=1 cargo test --test tidy` and commit it");
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let checkout = root().to_string_lossy().into_owned();
    let home = std::env::var("HOME").unwrap_or_default();
    // Short or general places (`/src`, `/root`) also stand in documents and images for their own reasons.
    let telling = |path: &String| {
        path.matches('/').count() >= 2 && !["/var", "/etc", "/opt", "/usr"].iter().any(|dir| path.starts_with(dir))
    };
    let places: Vec<String> = [checkout, home].into_iter().filter(telling).collect();
    let mut wrong = Vec::new();
    for path in files(&root(), &|_| true) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        for place in places.iter().filter(|place| text.contains(place.as_str())) {
            wrong.push(format!("{}: names `{place}`", relative(&path)));
        }
    }
    report("places", wrong);
}

fn report(rule: &str, wrong: impl IntoIterator<Item = String>) {
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "{rule}:\n{}", wrong.join("\n"));
}

#[test]
fn the_scanner_sees_code_and_nothing_else() {
    let text = "fn a() { let s = \"fn b() {\"; // fn c() {\n let q = '{'; let l: &'static str = r#\"}\"#; }\nfn d();\n";
    let code = blank(text);
    assert_eq!((code.len(), code.matches('\n').count()), (text.len(), 3));
    let found: Vec<(String, usize)> = functions(&code).into_iter().map(|f| (f.name, f.lines)).collect();
    assert_eq!(found, [("a".to_owned(), 2)]);
    assert!(has_word("tokio::spawn", "tokio") && !has_word("tokio_postgres", "tokio"));
    assert_eq!(outer_arms("{ A::B { c } => match x { _ => 1 }, _ => 2 }").len(), 2);
}
