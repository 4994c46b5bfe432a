//! A release build has no stop points: `src/stop_points.rs`, compiled alone as a release build compiles it, leaves nothing
//! in the object file that could stop anything, and no other file can.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What the stop points need to work: the call, the switch, a place's name.
const TRACES: &[&str] = &["raise", "LEADERL_STOP_POINTS", "gate-refresh", "key-renewal"];

fn object(debug_assertions: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let output = directory.path().join("stop_points.o");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stop_points.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let switch = format!("debug-assertions={debug_assertions}");
    let done = Command::new(rustc)
        .args(["--edition", "2024", "--crate-type", "rlib", "--emit", "obj", "-C", "link-dead-code=on", "-C", &switch])
        .arg("-o")
        .arg(&output)
        .arg(source)
        .output()
        .expect("rustc");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    fs::read(output).expect("an object file")
}

fn traces(object: &[u8]) -> Vec<&'static str> {
    let there = |trace: &&str| object.windows(trace.len()).any(|window| window == trace.as_bytes());
    TRACES.iter().copied().filter(there).collect()
}

#[test]
fn a_release_build_has_nothing_of_them() {
    assert_eq!(traces(&object("on")), TRACES, "the test would not see them");
    assert_eq!(traces(&object("off")), Vec::<&str>::new());
}

#[test]
fn the_release_profile_switches_debug_assertions_off() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let profile = manifest.get("profile").and_then(|profiles| profiles.get("release"));
    assert_eq!(profile.and_then(|release| release.get("debug-assertions")), None, "off is the default");
}

#[test]
fn no_other_file_can_stop_its_process() {
    let mut files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut wrong = Vec::new();
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path).expect("a folder").flatten().map(|entry| entry.path()));
        } else if !path.ends_with("src/stop_points.rs") {
            let text = fs::read_to_string(&path).unwrap_or_default();
            wrong.extend(
                ["SIGSTOP", "signal::raise", "libc::raise"]
                    .iter()
                    .filter(|word| text.contains(**word))
                    .map(|_| path.clone()),
            );
        }
    }
    assert_eq!(wrong, Vec::<std::path::PathBuf>::new());
}
