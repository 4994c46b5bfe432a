//! Everything the adapter does with files. Blocking: called on the blocking pool, one at a time.

use super::config;
use super::control_file;
use super::durable::{self, Owner, cannot};
use super::layout::Layout;
use super::upstream::{self, Identity};
use crate::ports::PostgresError;
use crate::settings::Settings;
use crate::settings::secrets::Secret;
use leaderl_decision::model::{Epoch, NodeId, Revision, Timeline};
use leaderl_decision::records::{MemberRecord, Token};
use leaderl_decision::replication_plan::{DataSeen, FilesSeen, SyncNames, UnsyncedMark, Upstream, UpstreamRefusal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The token's file inside PGDATA; a rebuild destroys it.
pub(super) const TOKEN: &str = "leaderl.token";
/// How much of PostgreSQL's log is looked at for a source's refusal.
const LOG_WINDOW: u64 = 64 * 1024;

/// `promise.json`.
#[derive(Serialize, Deserialize)]
struct PromiseFile {
    revision: Revision,
}

/// `marks/no-start.json`.
#[derive(Serialize, Deserialize)]
struct NoStartFile {
    #[serde(default)]
    reason: String,
}

/// The files of one node's PostgreSQL.
pub(super) struct Files {
    pub(super) layout: Layout,
    pub(super) settings: Settings,
    pub(super) owner: Owner,
    pub(super) identity: Identity,
    pub(super) password: Secret,
    /// How long PostgreSQL's log was when the upstream was last changed or the server started.
    log_from: u64,
}

impl Files {
    pub(super) fn new(settings: Settings, owner: Owner, guid: NodeId, password: Secret) -> Self {
        let layout = Layout::new(&settings);
        let identity = Identity { guid, user: settings.postgres.replication_user.clone() };
        let mut files = Self { layout, settings, owner, identity, password, log_from: 0 };
        files.forget_log();
        files
    }

    pub(super) fn look(&self) -> Result<FilesSeen, PostgresError> {
        let layout = &self.layout;
        let upstream = durable::text(&layout.conf_file("upstream.conf"))?;
        let names = durable::text(&layout.conf_file("sync.conf"))?;
        let upstream = upstream.map(|text| upstream::parse_upstream(&text, layout, &self.identity)).unwrap_or_default();
        Ok(FilesSeen {
            data: self.data(),
            standby_signal: config::exists(&layout.data.join("standby.signal")),
            side_ready: config::exists(&layout.side_ready) && config::exists(&layout.side.join("PG_VERSION")),
            token: self.token()?,
            promised: self.promised()?,
            unsynced: durable::json(&layout.unsynced)?,
            no_start: self.no_start(),
            upstream_refusal: match &upstream {
                Upstream::Node(_) => self.refusal(),
                Upstream::Unset | Upstream::Sentinel { .. } => None,
            },
            upstream,
            sync_names: names.and_then(|text| upstream::parse_names(&text)).unwrap_or_default(),
        })
    }

    fn data(&self) -> DataSeen {
        let data = &self.layout.data;
        let empty = match fs::read_dir(data) {
            Ok(mut entries) => entries.next().is_none(),
            Err(why) if why.kind() == io::ErrorKind::NotFound => true,
            Err(why) => return DataSeen::Unreadable(why.to_string()),
        };
        if empty {
            return DataSeen::Missing;
        }
        match control_file::read(data) {
            Ok(control) => DataSeen::Present(control),
            Err(why) => {
                let source = std::error::Error::source(&why).map(|source| format!(": {source}")).unwrap_or_default();
                DataSeen::Unreadable(format!("{}/global/pg_control: {why}{source}", data.display()))
            }
        }
    }

    fn token(&self) -> Result<Option<Token>, PostgresError> {
        // A token that cannot be understood proves nothing.
        Ok(durable::json(&self.layout.data.join(TOKEN)).unwrap_or(None))
    }

    /// Any file of that name forbids to start, whatever is in it.
    fn no_start(&self) -> Option<String> {
        if !config::exists(&self.layout.no_start) {
            return None;
        }
        let mark: Option<NoStartFile> = durable::json(&self.layout.no_start).unwrap_or(None);
        Some(
            mark.map(|mark| mark.reason)
                .filter(|reason| !reason.is_empty())
                .unwrap_or_else(|| "no reason given".into()),
        )
    }

    fn promised(&self) -> Result<Revision, PostgresError> {
        Ok(durable::json::<PromiseFile>(&self.layout.promise)?.map(|promise| promise.revision).unwrap_or_default())
    }

    /// One step, so that no mark can come after the promise it belongs to: a claim may name it by then.
    pub(super) fn promise(&mut self, revision: Revision, mark: Option<&Token>) -> Result<(), PostgresError> {
        if revision <= self.promised()? {
            return Ok(());
        }
        if let Some(Err(error)) = mark.map(|mark| self.write_token(mark)) {
            tracing::warn!(%error, "the copy bears no new token; should it take an epoch and fall, it may have no proof");
        }
        durable::put_json(&self.layout.promise, &PromiseFile { revision }, None)
    }

    pub(super) fn point_at(
        &mut self,
        target: &Upstream,
        revision: Revision,
        catch_up: bool,
    ) -> Result<(), PostgresError> {
        let promised = self.promised()?;
        let streams = matches!(target, Upstream::Node(_));
        if streams && !catch_up && revision <= promised {
            return Err(PostgresError::Promised { promised, revision });
        }
        self.forget_log();
        let text = upstream::render_upstream(target, &self.layout, &self.identity);
        durable::replace(&self.layout.conf_file("upstream.conf"), text.as_bytes(), Some(self.owner))
    }

    pub(super) fn write_sync_names(&mut self, names: &SyncNames) -> Result<(), PostgresError> {
        let text = upstream::render_names(names);
        durable::replace(&self.layout.conf_file("sync.conf"), text.as_bytes(), Some(self.owner))
    }

    /// Writes all that a start needs. Never touches an existing `upstream.conf`.
    pub(super) fn prepare_start(&mut self) -> Result<(), PostgresError> {
        let data = self.layout.data.clone();
        self.prepare_conf()?;
        if let Some(text) = durable::text(&data.join("postgresql.auto.conf"))?
            && let Some(stripped) = config::stripped_auto_conf(&text)
        {
            durable::replace(&data.join("postgresql.auto.conf"), stripped.as_bytes(), Some(self.owner))?;
        }
        self.write_sync_names(&SyncNames::of_nobody())?;
        self.forget_log();
        durable::replace(&data.join("standby.signal"), b"", Some(self.owner))
    }

    /// The configuration outside PGDATA, and the directories that PostgreSQL writes to.
    pub(super) fn prepare_conf(&mut self) -> Result<(), PostgresError> {
        let (layout, owner) = (&self.layout, self.owner);
        for dir in [&layout.conf, &layout.socket_dir] {
            durable::make_dir(dir, Some(owner)).map_err(cannot(format!("create {}", dir.display())))?;
        }
        let logs = layout.server_log.parent().unwrap_or(Path::new("/"));
        durable::make_dir(logs, Some(owner)).map_err(cannot(format!("create {}", logs.display())))?;
        let (listen, wider) = config::listen_addresses(&self.settings);
        if let Some(reason) = wider {
            tracing::warn!(%reason, "PostgreSQL listens more widely than configured");
        }
        let pg = &self.settings.postgres;
        let daemon = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).ok().flatten().map(|user| user.name);
        let put = |name: &str, text: &str| {
            let path = layout.conf_file(name);
            if durable::text(&path)?.as_deref() == Some(text) {
                return Ok(());
            }
            durable::replace(&path, text.as_bytes(), Some(owner))
        };
        put(
            "postgresql.conf",
            &config::main_file(&self.settings, layout, &listen, &control_file::minima(&layout.data)),
        )?;
        put("pg_ident.conf", &config::ident_file(pg, daemon.as_deref()))?;
        put("pgpass", &config::password_file(&pg.replication_user, &self.password.0))?;
        for (name, text) in [
            ("pg_hba.conf", config::access_file(pg, self.settings.node.publish_address, &BTreeMap::new())),
            ("sync.conf", upstream::render_names(&SyncNames::default())),
            ("upstream.conf", upstream::render_upstream(&upstream::sentinel(Revision(0)), layout, &self.identity)),
        ] {
            if !config::exists(&layout.conf_file(name)) {
                put(name, &text)?;
            }
        }
        Ok(())
    }

    pub(super) fn write_access(&mut self, members: &BTreeMap<NodeId, MemberRecord>) -> Result<(), PostgresError> {
        let text = config::access_file(&self.settings.postgres, self.settings.node.publish_address, members);
        let path = self.layout.conf_file("pg_hba.conf");
        if durable::text(&path)?.as_deref() == Some(text.as_str()) {
            return Ok(());
        }
        durable::replace(&path, text.as_bytes(), Some(self.owner))
    }

    pub(super) fn mark_unsynced(&mut self, mark: Option<&UnsyncedMark>) -> Result<(), PostgresError> {
        match mark {
            Some(mark) => durable::put_json(&self.layout.unsynced, mark, None),
            None => durable::remove(&self.layout.unsynced),
        }
    }

    pub(super) fn write_token(&mut self, token: &Token) -> Result<(), PostgresError> {
        durable::put_json(&self.layout.data.join(TOKEN), token, Some(self.owner))
    }

    pub(super) fn epochs(&self) -> Result<BTreeMap<Timeline, Epoch>, PostgresError> {
        let kept: BTreeMap<u32, Epoch> = durable::json(&self.layout.epochs)?.unwrap_or_default();
        let mut epochs: BTreeMap<Timeline, Epoch> = kept.into_iter().map(|(id, epoch)| (Timeline(id), epoch)).collect();
        epochs.insert(Timeline(1), Epoch(0));
        Ok(epochs)
    }

    pub(super) fn remember_epochs(&mut self, epochs: &BTreeMap<Timeline, Epoch>) -> Result<(), PostgresError> {
        let kept: BTreeMap<u32, Epoch> = epochs.iter().map(|(timeline, epoch)| (timeline.0, *epoch)).collect();
        durable::put_json(&self.layout.epochs, &kept, None)
    }

    pub(super) fn place_history(&mut self, after: Timeline, up_to: Timeline) -> Result<(), PostgresError> {
        let dir = self.layout.data.join("pg_wal");
        let place = |timeline: u32| -> io::Result<()> {
            let path = dir.join(format!("{timeline:08X}.history"));
            let mut file = match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => file,
                // A real one says more.
                Err(why) if why.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                Err(why) => return Err(why),
            };
            if self.owner.change {
                std::os::unix::fs::chown(&path, Some(self.owner.uid), Some(self.owner.gid))?;
            }
            file.write_all(b"# leaderl: this timeline is taken by another epoch\n")?;
            file.sync_all()
        };
        (after.0 + 1..=up_to.0)
            .try_for_each(place)
            .and_then(|()| durable::sync_dir(&dir))
            .map_err(cannot(format!("place history files in {}", dir.display())))
    }

    /// Where a timeline began, from its history file.
    pub(super) fn began_at(&self, timeline: Timeline) -> Option<leaderl_decision::model::Lsn> {
        let path = self.layout.data.join(format!("pg_wal/{:08X}.history", timeline.0));
        super::looking::switch_point(&durable::text(&path).ok().flatten()?)
    }

    /// From here on, what PostgreSQL's log says about a source is about the present one.
    fn forget_log(&mut self) {
        self.log_from = fs::metadata(&self.layout.server_log).map(|meta| meta.len()).unwrap_or(0);
    }

    fn refusal(&self) -> Option<UpstreamRefusal> {
        let attempt = || -> io::Result<Vec<u8>> {
            let mut file = fs::File::open(&self.layout.server_log)?;
            let length = file.metadata()?.len();
            let from = if length < self.log_from { 0 } else { self.log_from };
            file.seek(SeekFrom::Start(from.max(length.saturating_sub(LOG_WINDOW))))?;
            let mut bytes = Vec::new();
            file.take(LOG_WINDOW).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = attempt().ok()?;
        String::from_utf8_lossy(&bytes).lines().rev().find_map(config::refusal_in)
    }
}
