//! `config/leaderl.toml` shows every setting with its true default.

use super::Settings;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn config(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

/// `section.key` to the text after `=`, of commented and uncommented lines.
fn documented(text: &str) -> BTreeMap<String, String> {
    let mut section = String::new();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        }
        let line = line.strip_prefix('#').unwrap_or(line);
        if let Some((key, value)) = line.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            found.insert(format!("{section}.{key}"), value.to_owned());
        }
    }
    found
}

#[test]
fn every_setting_is_documented_with_its_true_default() {
    let text = std::fs::read_to_string(config("leaderl.toml")).unwrap();
    let documented = documented(&text);
    // Without a default, or with one that depends on the host, the file shows an example.
    let examples = ["node.name", "node.publish_address", "vip.addresses", "vip.interface", "postgres.parameters"];
    let defaults = toml::Table::try_from(Settings::default()).unwrap();
    for (section, table) in &defaults {
        for (key, default) in table.as_table().unwrap() {
            let name = format!("{section}.{key}");
            if examples.contains(&name.as_str()) {
                continue;
            }
            let shown = documented.get(&name).unwrap_or_else(|| panic!("config/leaderl.toml does not show `{name}`"));
            let shown: toml::Table = format!("v = {shown}").parse().unwrap();
            assert_eq!(&shown["v"], default, "`{name}` is documented with another default");
        }
    }
    for name in documented.keys().filter(|name| !name.starts_with("postgres.parameters.")) {
        let (section, key) = name.split_once('.').unwrap();
        let known = defaults[section].as_table().unwrap().contains_key(key) || examples.contains(&name.as_str());
        assert!(known, "config/leaderl.toml shows `{name}`, which is no setting");
    }
}

#[test]
fn the_annotated_file_and_the_example_are_accepted_also_with_every_comment_removed() {
    Settings::load(&config("leaderl.toml")).unwrap();
    let text = std::fs::read_to_string(config("leaderl.toml")).unwrap();
    let bare = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest.to_owned(),
        Some(_) | None => line.to_owned(),
    };
    let all = text.lines().map(bare).collect::<Vec<_>>().join("\n");
    Settings::from_text(Path::new("all.toml"), &all, |_| {}).unwrap();
    for node in ["backend-1", "backend-2", "backend-3"] {
        let settings = Settings::load(&config(&format!("three-nodes/{node}.toml"))).unwrap();
        assert_eq!(settings.node.name, node);
    }
}
