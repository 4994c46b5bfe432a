//! Adding the address and the interface of a joining node to its settings file: only where the file has none, the rest of
//! the text stays as it is.

use super::load::SettingsError;
use super::{Settings, private_file};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Why the file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It has a value of its own.
    #[error("{}: `{key}` is {present} in the file and {given} on the command line; the file is never overwritten: leave the option out or correct the file", file.display())]
    Differs {
        /// The file.
        file: PathBuf,
        /// The key.
        key: &'static str,
        /// In the file.
        present: String,
        /// On the command line.
        given: String,
    },
    /// What would come out is refused, or what is there.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It cannot be written.
    #[error(transparent)]
    File(#[from] private_file::PrivateFileError),
    /// It cannot be read.
    #[error("{} cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// Writes the address and the interface where the file has none. Nothing is written when nothing is given.
pub fn write_address(file: &Path, address: Option<IpAddr>, interface: Option<&str>) -> Result<(), EditError> {
    if address.is_none() && interface.is_none() {
        return Ok(());
    }
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(EditError::Unreadable { file: file.to_owned(), source }),
    };
    let changed = with_address(file, &text, address, interface)?;
    if changed != text {
        private_file::replace(file, changed.as_bytes(), 0o644)?;
    }
    Ok(())
}

fn with_address(
    file: &Path,
    text: &str,
    address: Option<IpAddr>,
    interface: Option<&str>,
) -> Result<String, EditError> {
    let accept_missing = |settings: &mut Settings| {
        settings.node.publish_address = settings.node.publish_address.or(address);
    };
    let present = Settings::from_text(file, text, accept_missing)?;
    let mut changed = text.to_owned();
    let written: toml::Table = text.parse().unwrap_or_default();
    let value = |section: &str, key: &str| written.get(section)?.get(key)?.as_str().map(str::to_owned);
    let differs =
        |key, present: String, given: String| EditError::Differs { file: file.to_owned(), key, present, given };
    if let Some(given) = address {
        match value("node", "publish_address") {
            None => changed = insert(&changed, "node", &format!("publish_address = \"{given}\"")),
            Some(_) if present.node.publish_address == Some(given) => {}
            Some(other) => return Err(differs("node.publish_address", other, given.to_string())),
        }
    }
    if let Some(given) = interface {
        match value("vip", "interface") {
            None => changed = insert(&changed, "vip", &format!("interface = {}", toml::Value::from(given))),
            Some(other) if other == given => {}
            Some(other) => return Err(differs("vip.interface", other, given.to_owned())),
        }
    }
    Settings::from_text(file, &changed, |_| {})?;
    Ok(changed)
}

/// After the section's header, or in a new section at the end.
fn insert(text: &str, section: &str, line: &str) -> String {
    let header = format!("[{section}]");
    let mut lines: Vec<&str> = text.lines().collect();
    if let Some(at) = lines.iter().position(|here| here.split('#').next().unwrap_or_default().trim() == header) {
        lines.insert(at + 1, line);
        return lines.join("\n") + "\n";
    }
    let gap = if text.is_empty() || text.ends_with("\n\n") { "" } else { "\n" };
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}{gap}{header}\n{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(text: &str, address: Option<&str>, interface: Option<&str>) -> Result<String, EditError> {
        with_address(Path::new("f"), text, address.map(|ip| ip.parse().unwrap()), interface)
    }

    #[test]
    fn only_what_is_missing_is_added() {
        let text = "# mine\n[node] # here\nname = \"n1\"\n";
        let changed = edit(text, Some("10.0.0.1"), Some("eth0")).unwrap();
        assert_eq!(
            changed,
            "# mine\n[node] # here\npublish_address = \"10.0.0.1\"\nname = \"n1\"\n\n[vip]\ninterface = \"eth0\"\n"
        );
        assert_eq!(edit(&changed, Some("10.0.0.1"), Some("eth0")).unwrap(), changed);
        let said = edit(&changed, Some("10.0.0.2"), None).unwrap_err().to_string();
        assert!(said.contains("`node.publish_address` is 10.0.0.1 in the file and 10.0.0.2"), "{said}");
        assert!(edit(&changed, None, Some("eth1")).is_err());
        assert!(edit("[nod]\n", Some("10.0.0.1"), None).is_err(), "a broken file is not touched");
        let fresh = edit("", Some("10.0.0.1"), None);
        assert!(fresh.is_ok_and(|text| text == "[node]\npublish_address = \"10.0.0.1\"\n"));
    }
}
