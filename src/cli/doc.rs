//! `docs/cli.md`, generated from the definitions in `args.rs`.

use super::args::Cli;
use clap::CommandFactory;
use std::fmt::Write;

/// The page.
pub fn markdown() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text = String::from(
        "# Commands\n\nGenerated from the program's own definitions; `BLESS=1 cargo test cli_page` \
        writes it again.\nInstalled as `chef-backend-ctl` the program behaves the same.\n\n",
    );
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}\n", root.get_after_help().map(ToString::to_string).unwrap_or_default());
    let _ = writeln!(text, "Everywhere:\n");
    arguments(&mut text, &root, true);
    for command in root.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        section(&mut text, command, "leaderl");
    }
    text.trim_end().to_owned() + "\n"
}

fn section(text: &mut String, command: &clap::Command, before: &str) {
    let name = format!("{before} {}", command.get_name());
    let below: Vec<_> = command.get_subcommands().filter(|command| command.get_name() != "help").collect();
    if !below.is_empty() {
        below.into_iter().for_each(|command| section(text, command, &name));
        return;
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(text, "\n## `{name}`\n\n{about}.\n\n    {usage}\n");
    arguments(text, command, false);
}

fn arguments(text: &mut String, command: &clap::Command, global: bool) {
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        if argument.is_global_set() != global || argument.is_hide_set() || id == "help" || id == "version" {
            continue;
        }
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = match defaults.is_empty() || !argument.get_action().takes_values() {
            true => String::new(),
            false => format!(" Default `{}`.", defaults.join(" ")),
        };
        let _ = writeln!(text, "- `{argument}`: {help}.{default}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn cli_page_is_fresh() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
        let fresh = super::markdown();
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &fresh).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == fresh,
            "docs/cli.md is not fresh; run `BLESS=1 cargo test cli_page` and look at the difference"
        );
    }
}
