//! Remaking a copy: pg_rewind in place, or pg_basebackup into the side directory and a rename.

use super::durable::{self, cannot};
use super::files::{Files, TOKEN};
use crate::heart::protocol::ToolRequest;
use crate::ports::PostgresError;
use leaderl_decision::model::Epoch;
use leaderl_decision::planted::{Planted, planted};
use leaderl_decision::replication_plan::Source;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

impl Files {
    /// What the tools need to reach a source; never with the node's own application_name, whose flush reports count.
    fn conninfo(&self, source: &Source, purpose: &str) -> String {
        format!(
            "host={} port={} user={} dbname=postgres passfile={} application_name=leaderl_{purpose} connect_timeout=5 \
             keepalives=1 keepalives_idle=2 keepalives_interval=2 keepalives_count=3 options='-c statement_timeout=0 -c wal_sender_timeout=60s'",
            source.address,
            source.port,
            self.identity.user,
            self.layout.conf_file("pgpass").display(),
        )
    }

    fn tool(&self, name: &str, args: Vec<String>) -> ToolRequest {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        ToolRequest {
            id: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            program: self.layout.bin.join(name),
            args,
            env: vec![("HOME".into(), "/".into())],
            uid: self.owner.uid,
            gid: self.owner.gid,
            log_file: self.layout.tool_log.clone(),
        }
    }

    pub(super) fn begin_rewind(&mut self, source: &Source) -> Result<ToolRequest, PostgresError> {
        let layout = &self.layout;
        durable::remove(&layout.data.join(TOKEN))?;
        let control = fs::read(layout.data.join("global/pg_control")).map_err(cannot("read pg_control"))?;
        durable::replace(&layout.control_copy, &control, Some(self.owner))?;
        let data = layout.data.display().to_string();
        // `--no-ensure-shutdown`: it was stopped cleanly, and its own recovery run would look for a configuration in PGDATA.
        let args = vec![
            "--no-ensure-shutdown".into(),
            format!("--target-pgdata={data}"),
            format!("--source-server={}", self.conninfo(source, "rewind")),
        ];
        Ok(self.tool("pg_rewind", args))
    }

    /// pg_rewind copies every file that is not data from the source, its token too.
    pub(super) fn finish_rewind(&mut self) -> Result<(), PostgresError> {
        durable::remove(&self.layout.data.join(TOKEN))?;
        empty_slots(&self.layout.data)?;
        durable::remove(&self.layout.control_copy)
    }

    pub(super) fn begin_copy(&mut self, source: &Source) -> Result<ToolRequest, PostgresError> {
        durable::remove(&self.layout.side_ready)?;
        let side = &self.layout.side;
        match fs::remove_dir_all(side) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => {
                return Err(cannot(format!("empty {}", side.display()))(why));
            }
            Ok(()) | Err(_) => {}
        }
        if let Some(parent) = side.parent() {
            durable::make_dir(parent, None).map_err(cannot(format!("create {}", parent.display())))?;
        }
        durable::make_dir(side, Some(self.owner)).map_err(cannot(format!("create {}", side.display())))?;
        let args = vec![
            format!("--pgdata={}", side.display()),
            format!("--dbname={}", self.conninfo(source, "copy")),
            "--wal-method=stream".into(),
            "--checkpoint=fast".into(),
            "--no-password".into(),
        ];
        Ok(self.tool("pg_basebackup", args))
    }

    pub(super) fn finish_copy(&mut self) -> Result<(), PostgresError> {
        let side = &self.layout.side;
        durable::remove(&side.join(TOKEN))?;
        empty_slots(side)?;
        // pg_basebackup has synced the copy itself; what was changed since is synced above.
        durable::sync_dir(side).map_err(cannot(format!("sync {}", side.display())))?;
        durable::replace(&self.layout.side_ready, b"", None)
    }

    pub(super) fn swap_in(&mut self, epoch: Epoch) -> Result<(), PostgresError> {
        let (data, side) = (&self.layout.data, &self.layout.side);
        let attempt = || -> io::Result<()> {
            if fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_some()) {
                if planted(Planted::OldCopyDeleted) {
                    fs::remove_dir_all(data)?;
                } else {
                    let old = free_name(data, epoch);
                    fs::rename(data, &old)?;
                    keep_with(&self.layout.control_copy, &old)?;
                }
            } else {
                match fs::remove_dir(data) {
                    Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                    Ok(()) | Err(_) => {}
                }
            }
            fs::rename(side, data)?;
            durable::sync_dir(data.parent().unwrap_or(Path::new("/")))
        };
        attempt().map_err(cannot(format!("rename {} into place", side.display())))?;
        durable::remove(&self.layout.side_ready)?;
        self.drop_oldest_copies();
        Ok(())
    }

    /// Keeps the newest old copies, as many as the settings say. What cannot be removed is left and logged.
    fn drop_oldest_copies(&self) {
        let data = &self.layout.data;
        let (Some(parent), Some(name)) = (data.parent(), data.file_name().and_then(|name| name.to_str())) else {
            return;
        };
        let prefix = format!("{name}.old-");
        // By the time of the rename, which is what changes a directory's ctime.
        let mut old: Vec<((i64, i64), PathBuf)> = fs::read_dir(parent)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .filter_map(|entry| {
                let meta = entry.metadata().ok()?;
                Some(((meta.ctime(), meta.ctime_nsec()), entry.path()))
            })
            .collect();
        old.sort();
        // Never the last one: the copy just put in its place has yet to catch up.
        let keep = self.settings.postgres.keep_old_copies.max(1) as usize;
        let surplus = old.len().saturating_sub(keep);
        for (_, path) in old.drain(..surplus) {
            match fs::remove_dir_all(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "removed an old copy of the data directory"),
                Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove an old copy"),
            }
        }
    }

    /// The last line that the last tool wrote.
    pub(super) fn tool_words(&self) -> String {
        let text = fs::read_to_string(&self.layout.tool_log).unwrap_or_default();
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
    }
}

/// What a rewind that did not end has saved belongs to the files it was saved from.
fn keep_with(saved: &Path, old: &Path) -> io::Result<()> {
    let Some(name) = saved.file_name() else { return Ok(()) };
    match fs::rename(saved, old.join(name)) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A slot that came with a copy would hold WAL that nobody asks for.
fn empty_slots(data: &Path) -> Result<(), PostgresError> {
    let slots = data.join("pg_replslot");
    let attempt = || -> io::Result<()> {
        for entry in fs::read_dir(&slots)? {
            fs::remove_dir_all(entry?.path())?;
        }
        durable::sync_dir(&slots)
    };
    attempt().map_err(cannot(format!("empty {}", slots.display())))
}

fn free_name(data: &Path, epoch: Epoch) -> PathBuf {
    let named = |suffix: String| {
        let mut name = data.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let mut candidate = named(format!(".old-{epoch}"));
    let mut count = 1u32;
    while candidate.symlink_metadata().is_ok() {
        count += 1;
        candidate = named(format!(".old-{epoch}.{count}"));
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::postgres::durable::Owner;
    use crate::settings::Settings;
    use crate::settings::secrets::Secret;
    use leaderl_decision::model::NodeId;

    /// A data directory with a file in it, and a finished copy beside it.
    fn ready_to_swap(dir: &Path) -> Files {
        let mut settings = Settings::default();
        settings.postgres.data_dir = dir.join("data");
        settings.node.state_dir = dir.join("state");
        let owner = Owner { uid: 0, gid: 0, change: false };
        let files = Files::new(settings, owner, NodeId("a0".repeat(16)), Secret("none".into()));
        for (place, content) in [(&files.layout.data, "old"), (&files.layout.side, "new")] {
            fs::create_dir(place).unwrap();
            fs::write(place.join("PG_VERSION"), content).unwrap();
        }
        fs::write(&files.layout.control_copy, "before the rewind").unwrap();
        fs::write(&files.layout.side_ready, "").unwrap();
        files
    }

    fn content(path: &Path) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    /// Invariant I6: what was there is still there, beside what took its place.
    fn swap(dir: &Path) -> (bool, bool) {
        let mut files = ready_to_swap(dir);
        files.swap_in(Epoch(7)).unwrap();
        assert_eq!(content(&files.layout.data.join("PG_VERSION")).as_deref(), Some("new"));
        assert!(!files.layout.side.exists() && !files.layout.side_ready.exists());
        let old = dir.join("data.old-7");
        let whole = content(&old.join("PG_VERSION")).as_deref() == Some("old");
        (whole, content(&old.join("pg_control.before-rewind")).is_some())
    }

    #[test]
    fn the_old_copy_is_kept_when_another_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(swap(dir.path()), (true, true), "the old copy, and what was saved from it");
    }

    #[test]
    fn a_planted_bug_that_deletes_the_old_copy_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let _planted = Planted::OldCopyDeleted.plant();
        assert_eq!(swap(dir.path()), (false, false));
    }
}
