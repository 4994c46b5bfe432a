//! Tables, JSON and YAML.

use super::args::Format;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

/// Left-aligned columns, two spaces between them, nothing after the last.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Cells of one row.
pub fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// In a machine's format; `None` for tables.
pub fn machine<T: Serialize>(value: &T, format: Format) -> serde_json::Result<Option<String>> {
    Ok(match format {
        Format::Table => None,
        Format::Json => Some(format!("{}\n", serde_json::to_string_pretty(value)?)),
        Format::Yaml => Some(yaml(&serde_json::to_value(value)?)),
    })
}

/// YAML of a JSON value; texts are always quoted, so that none is taken for a number or a truth.
pub fn yaml(value: &Value) -> String {
    let mut text = String::new();
    write_yaml(&mut text, value, 0);
    text
}

fn write_yaml(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                // Writing to a String cannot fail.
                let _ = write!(text, "{indent}{}:", yaml_key(key));
                nested(text, value, depth + 1);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut inner = String::new();
                write_yaml(&mut inner, item, depth + 1);
                let _ = writeln!(text, "{indent}- {}", inner.trim_start().trim_end_matches('\n'));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            let _ = writeln!(text, "{indent}{value}");
        }
    }
}

fn nested(text: &mut String, value: &Value, depth: usize) {
    let deep = matches!(value, Value::Object(f) if !f.is_empty()) || matches!(value, Value::Array(i) if !i.is_empty());
    if deep {
        text.push('\n');
        write_yaml(text, value, depth);
    } else {
        let _ = writeln!(text, " {value}");
    }
}

fn yaml_key(key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain && !key.starts_with('-') { key.to_owned() } else { Value::from(key).to_string() }
}

/// `27d 9h 51m 38s`: always all four parts.
pub fn four_parts(secs: u64) -> String {
    format!("{}d {}h {}m {}s", secs / 86_400, secs / 3600 % 24, secs / 60 % 60, secs % 60)
}

/// The two greatest parts of a duration.
pub fn age(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m {}s", secs / 60, secs % 60),
        3600..86_400 => format!("{}h {}m", secs / 3600, secs / 60 % 60),
        _ => format!("{}d {}h", secs / 86_400, secs / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_keeps_order_and_quotes_texts() {
        let value = serde_json::json!({"b": [{"a": 1, "c": []}, {"a": null}], "on": "off", "a:b": {}, "n": ["x"]});
        assert_eq!(yaml(&value), "b:\n  - a: 1\n    c: []\n  - a: null\non: \"off\"\n\"a:b\": {}\nn:\n  - \"x\"\n");
    }

    #[test]
    fn durations_have_their_parts() {
        assert_eq!(four_parts(27), "0d 0h 0m 27s");
        assert_eq!(four_parts(2_368_298), "27d 9h 51m 38s");
        assert_eq!(
            (age(5), age(65), age(7265), age(90_000)),
            ("5s".into(), "1m 5s".into(), "2h 1m".into(), "1d 1h".into())
        );
    }
}
