//! Reading `leaderl.toml`: every refusal names file, line, key, rule and the next step.

use super::Settings;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Where the settings are unless `--config` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/leaderl/leaderl.toml";

/// A settings file larger than this is not one, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1; `None` when the key is not in the file (the default broke the rule).
    pub line: Option<usize>,
    /// Full key, such as `election.leader_ttl`.
    pub key: String,
    /// What holds instead of what must hold.
    pub rule: String,
    /// What the operator does next.
    pub next: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: ")?,
            None => f.write_str("not in the file: ")?,
        }
        write!(f, "`{}`: {}; {}", self.key, self.rule, self.next)
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{}: cannot be read; create it (see the annotated example) or name another with --config", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("{}: {problem}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Where and why.
        problem: Problem,
    },
    /// It can be read, but rules are broken.
    #[error("{}:{}", file.display(), lines(problems))]
    Refused {
        /// The file.
        file: PathBuf,
        /// All of them.
        problems: Vec<Problem>,
    },
}

fn lines(problems: &[Problem]) -> String {
    match problems {
        [one] => format!(" {one}"),
        several => several.iter().map(|problem| format!("\n  {problem}")).collect(),
    }
}

impl Settings {
    /// Reads and validates a file. Unknown keys are refused. What only this host can answer is checked by
    /// [`super::host::check_host`].
    pub fn load(file: &Path) -> Result<Self, SettingsError> {
        Self::load_adjusted(file, |_| {})
    }

    /// Like [`Settings::load`], with a change (from the command line) between reading and validating.
    pub fn load_adjusted(file: &Path, adjust: impl FnOnce(&mut Self)) -> Result<Self, SettingsError> {
        let unreadable = |source| SettingsError::Unreadable { file: file.to_owned(), source };
        let size = std::fs::metadata(file).map_err(unreadable)?.len();
        if size > MAX_BYTES {
            return Err(unreadable(std::io::Error::other(format!("{size} bytes are no settings file"))));
        }
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        Self::from_text(file, &text, adjust)
    }

    /// Reads and validates a text; `file` only names it in errors.
    pub fn from_text(file: &Path, text: &str, adjust: impl FnOnce(&mut Self)) -> Result<Self, SettingsError> {
        let mut settings: Self = toml::from_str(text)
            .map_err(|error| SettingsError::Syntax { file: file.to_owned(), problem: syntax_problem(text, &error) })?;
        adjust(&mut settings);
        let broken = settings.validate();
        if broken.is_empty() {
            return Ok(settings);
        }
        let problems = broken.into_iter().map(|problem| Problem { line: line_of(text, &problem.key), ..problem });
        Err(SettingsError::Refused { file: file.to_owned(), problems: problems.collect() })
    }
}

fn syntax_problem(text: &str, error: &toml::de::Error) -> Problem {
    let start = error.span().map_or(0, |span| span.start);
    let message = error.message().trim().replace('\n', ", ");
    let next = if message.starts_with("unknown field") {
        "remove the line or correct its name"
    } else {
        "correct the line as the annotated example shows"
    };
    Problem { line: Some(line_at(text, start)), key: key_at(text, start), rule: message, next: next.to_owned() }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The line on which a dotted key is written, or its longest prefix that is.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut here = table.get_ref();
    let mut parts = key.split(['.', '[']).peekable();
    while let Some(part) = parts.next() {
        let (name, value) = here.iter().find(|(name, _)| name.get_ref().as_ref() == part.trim_end_matches(']'))?;
        match (parts.peek(), value.get_ref()) {
            (Some(_), DeValue::Table(inner)) => here = inner,
            (_, _) => return Some(line_at(text, name.span().start)),
        }
    }
    None
}

/// The dotted key whose name or value covers the offset; for a text that is no TOML, what stands before the `=`.
fn key_at(text: &str, offset: usize) -> String {
    let mut path = Vec::new();
    if let Ok(table) = DeTable::parse(text) {
        descend(table.get_ref(), offset, &mut path);
    }
    if path.is_empty() {
        let line = text.lines().nth(line_at(text, offset) - 1).unwrap_or_default();
        return line.split('=').next().unwrap_or_default().trim().to_owned();
    }
    path.join(".")
}

fn descend(table: &DeTable<'_>, offset: usize, path: &mut Vec<String>) {
    for (name, value) in table {
        let inside = |span: std::ops::Range<usize>| span.start <= offset && offset < span.end.max(span.start + 1);
        if inside(name.span()) {
            path.push(name.get_ref().to_string());
            return;
        }
        let before = path.len();
        path.push(name.get_ref().to_string());
        if let DeValue::Table(inner) = value.get_ref() {
            descend(inner, offset, path);
            if path.len() > before + 1 {
                return;
            }
        }
        if inside(value.span()) {
            return;
        }
        path.truncate(before);
    }
}
