//! Reads sources as text: what is code, where functions end, which arms a `match` has.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct Source {
    /// Path from the repository's root.
    pub(crate) name: String,
    pub(crate) text: String,
    /// The same lines with comments, strings and characters blanked.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn is_test(&self) -> bool {
        self.name.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "testing.rs")
    }
}

pub(crate) fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

pub(crate) fn sources(folders: &[&str]) -> Vec<Source> {
    let rust = |path: &Path| path.extension().is_some_and(|ending| ending == "rs");
    let all = folders.iter().flat_map(|folder| files(&root().join(folder), &rust));
    all.map(|path| {
        let text = fs::read_to_string(&path).expect("sources are UTF-8");
        let code = blank(&text);
        Source { name: relative(&path).trim_start_matches("./").to_owned(), text, code }
    })
    .collect()
}

/// Every file below, in order; built and hidden things are not ours.
pub(crate) fn files(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path, wanted));
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found
}

/// Blanks comments, strings and character literals; every newline stays where it is.
pub(crate) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = skipped(bytes, at);
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn skipped(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let find = |needle: &[u8], from: usize| {
        let tail = rest.get(from..).unwrap_or_default();
        tail.windows(needle.len()).position(|window| window == needle).map_or(bytes.len(), |found| at + from + found)
    };
    if rest.starts_with(b"//") {
        return find(b"\n", 0);
    }
    if rest.starts_with(b"/*") {
        return (find(b"*/", 2) + 2).min(bytes.len());
    }
    let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let raw = rest.strip_prefix(b"br").or_else(|| rest.strip_prefix(b"r")).filter(|_| !in_word);
    if let Some(raw) = raw {
        let hashes = raw.iter().take_while(|byte| **byte == b'#').count();
        if raw.get(hashes) == Some(&b'"') {
            let closing: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
            let opened = rest.len() - raw.len() + hashes + 1;
            return (find(&closing, opened) + closing.len()).min(bytes.len());
        }
    }
    match rest {
        [b'"', ..] => closed(bytes, at, b'"'),
        // `'a` is a lifetime unless a quote closes it after one character.
        [b'\'', b'\\', ..] => closed(bytes, at, b'\''),
        [b'\'', first, ..] if *first != b'\'' => {
            let width = std::str::from_utf8(&rest[1..]).ok().and_then(|t| t.chars().next()).map_or(1, char::len_utf8);
            if rest.get(1 + width) == Some(&b'\'') { at + width + 2 } else { at }
        }
        _ => at,
    }
}

fn closed(bytes: &[u8], open: usize, quote: u8) -> usize {
    let mut at = open + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

pub(crate) fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() || before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some(open) = body(&code[at..]).map(|brace| at + brace) else { continue };
        let end = open + matching(&code[open..]);
        let line = line_of(code, at);
        found.push(Function { name, line, lines: line_of(code, end) - line + 1 });
    }
    found
}

/// Where the body's brace is; `None` for a declaration without one.
fn body(code: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Where the brace that `code` begins with is closed.
fn matching(code: &str) -> usize {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

/// The patterns of a `match` whose braces `code` begins with, without those of inner ones.
pub(crate) fn outer_arms(code: &str) -> Vec<String> {
    let inside = &code[1..matching(code).max(1)];
    let mut arms = vec![String::new()];
    let mut depth = 0_i32;
    for c in inside.chars() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        let ends_arm = depth == 0 && matches!(c, ',' | '}');
        match arms.last_mut() {
            Some(_) if ends_arm => arms.push(String::new()),
            Some(arm) => arm.push(c),
            None => {}
        }
    }
    arms.iter().filter_map(|arm| arm.split_once("=>").map(|(pattern, _)| pattern.to_owned())).collect()
}

pub(crate) fn names_after(code: &str, keyword: &str) -> Vec<String> {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    code.match_indices(keyword)
        .map(|(at, _)| name(&code[at + keyword.len()..]))
        .filter(|name| !name.is_empty())
        .collect()
}

/// Whether `word` stands in the line and is no part of a longer name.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        let goes_on_before = word.starts_with(part) && before.is_some_and(part);
        let goes_on_after = word.ends_with(part) && after.is_some_and(part);
        !goes_on_before && !goes_on_after
    })
}

pub(crate) fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}
