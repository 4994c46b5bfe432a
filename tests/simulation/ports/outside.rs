//! Disks, the daemon's files, its doors, the search engine and the service manager.

use crate::world::node::Disk;
use crate::world::reply::Line;
use async_trait::async_trait;
use leaderl::ports::*;
use leaderl_decision::model::NodeId;
use leaderl_decision::search_plan::render::EngineFiles;
use leaderl_decision::search_plan::{Colour, EngineState};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The disks' port.
pub(crate) struct SimDisks(pub(crate) Line);

#[async_trait]
impl Disks for SimDisks {
    async fn free_bytes(&self, _path: &Path, _limit: Duration) -> Result<u64, DiskError> {
        let node = self.0.node;
        Ok(match self.0.with(|w| w.nodes[node].disk) {
            Disk::Full => 0,
            Disk::Fine | Disk::Failing | Disk::Slow(_) => 1 << 40,
        })
    }

    async fn write_probe(&self, dir: &Path, limit: Duration) -> Result<Duration, DiskError> {
        let node = self.0.node;
        let asked = self.0.ask(limit, move |w, reply| {
            let time = w.disk_time(node);
            w.after(time, move |w| reply.send(w.nodes[node].disk));
        });
        let operation = "a durable write";
        let failed = |errno| {
            let source = io::Error::from_raw_os_error(errno);
            Err(DiskError::Failed { operation, path: dir.into(), source })
        };
        match asked.await {
            None => Err(DiskError::Hung { operation, path: dir.into(), waited: limit }),
            Some(Disk::Full) => failed(nix::libc::ENOSPC),
            Some(Disk::Failing) => failed(nix::libc::EIO),
            Some(Disk::Fine | Disk::Slow(_)) => Ok(Duration::from_millis(1)),
        }
    }
}

/// The daemon's own files.
pub(crate) struct SimFiles(pub(crate) Line);

#[async_trait]
impl StateFiles for SimFiles {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let node = self.0.node;
        Ok(self.0.with(|w| w.nodes[node].files.get(name).cloned()))
    }

    async fn replace(&self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        let (node, name) = (self.0.node, name.to_owned());
        let kept = self.0.local(move |w| {
            let fits = !matches!(w.nodes[node].disk, Disk::Full | Disk::Failing);
            if fits {
                w.nodes[node].files.insert(name, bytes);
            }
            fits
        });
        if kept.await { Ok(()) } else { Err(io::Error::from_raw_os_error(nix::libc::ENOSPC)) }
    }

    fn append(&self, _name: &str, line: String) -> bool {
        let node = self.0.node;
        self.0.with(|w| w.hear_journal(node, &line));
        true
    }

    fn last_lines(&self, _name: &str) -> Vec<String> {
        Vec::new()
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/state").join(name)
    }
}

/// The doors' answers, kept where the world can knock.
#[derive(Default)]
pub(crate) struct Answers {
    http: Mutex<Option<HttpAnswers>>,
    admin: Mutex<Option<AdminAnswers>>,
}

struct Ajar;

impl OpenDoor for Ajar {
    fn is_open(&self) -> bool {
        true
    }
}

impl Answers {
    pub(crate) fn http(&self) -> Option<HttpAnswers> {
        self.http.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn admin(&self) -> Option<AdminAnswers> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Doors for Answers {
    async fn open_http(&self, _address: SocketAddr, answers: HttpAnswers) -> io::Result<Box<dyn OpenDoor>> {
        *self.http.lock().unwrap_or_else(PoisonError::into_inner) = Some(answers);
        Ok(Box::new(Ajar))
    }

    fn open_admin(&self, _path: &Path, answers: AdminAnswers) -> io::Result<Box<dyn OpenDoor>> {
        *self.admin.lock().unwrap_or_else(PoisonError::into_inner) = Some(answers);
        Ok(Box::new(Ajar))
    }
}

/// The search engine.
pub(crate) struct SimSearch(pub(crate) Line);

#[async_trait]
impl SearchEngine for SimSearch {
    async fn observe(&self, _limit: Duration) -> Result<EngineState, SearchError> {
        let node = self.0.node;
        let seen = self.0.local(move |w| {
            let answers = |id: usize| w.nodes[id].is_running() && w.nodes[id].search.up;
            if !answers(node) {
                return None;
            }
            let peers: Vec<usize> = (0..w.nodes.len()).filter(|id| answers(*id) && w.connected(node, *id)).collect();
            let nodes: BTreeMap<String, NodeId> =
                peers.iter().map(|id| (w.nodes[*id].name.clone(), w.nodes[*id].guid.clone())).collect();
            let quorum = w.nodes.len() / 2 + 1;
            let master = peers.first().filter(|_| peers.len() >= quorum).map(|id| w.nodes[*id].guid.clone());
            let colour = if peers.len() == w.nodes.len() { Colour::Green } else { Colour::Yellow };
            let fingerprint =
                w.nodes[node].files.get("search-files").map(|it| String::from_utf8_lossy(it).into_owned());
            let quorum = u32::try_from(quorum).ok();
            Some(EngineState {
                version: "6.8.23".into(),
                cluster_name: "search".into(),
                cluster_uuid: Some("uuid".into()),
                colour,
                nodes,
                master,
                fingerprint,
                start_quorum: quorum,
                quorum,
                voting: None,
            })
        });
        seen.await.ok_or_else(|| SearchError::Silent { detail: "connection refused".into() })
    }

    async fn set_quorum(&self, _quorum: u32, _limit: Duration) -> Result<(), SearchError> {
        Ok(())
    }

    async fn exclude_voters(&self, _ids: &BTreeSet<String>, _limit: Duration) -> Result<(), SearchError> {
        Ok(())
    }

    async fn clear_exclusions(&self, _limit: Duration) -> Result<(), SearchError> {
        Ok(())
    }

    async fn host(&self, _limit: Duration) -> Result<SearchHost, SearchError> {
        Ok(SearchHost {
            memory_bytes: 8 << 30,
            max_map_count: Some(262_144),
            binds_absent_addresses: true,
            java_home: None,
            engine_present: true,
            has_run: true,
        })
    }

    async fn files_match(&self, files: &EngineFiles, _limit: Duration) -> Result<bool, SearchError> {
        let node = self.0.node;
        Ok(self
            .0
            .with(|w| w.nodes[node].files.get("search-files").is_some_and(|it| *it == files.fingerprint.as_bytes())))
    }

    async fn write_files(&self, files: &EngineFiles, _limit: Duration) -> Result<(), SearchError> {
        let (node, fingerprint) = (self.0.node, files.fingerprint.clone().into_bytes());
        self.0.local(move |w| w.nodes[node].files.insert("search-files".into(), fingerprint)).await;
        Ok(())
    }
}

/// The service manager.
pub(crate) struct SimServices(pub(crate) Line);

#[async_trait]
impl ServiceControl for SimServices {
    async fn install(&self, _service: &ServiceDefinition, _limit: Duration) -> Result<bool, ServiceError> {
        Ok(false)
    }

    async fn uninstall(&self, _name: &str, _limit: Duration) -> Result<(), ServiceError> {
        Ok(())
    }

    async fn start(&self, _name: &str, _limit: Duration) -> Result<(), ServiceError> {
        Ok(())
    }

    async fn stop(&self, _name: &str, _limit: Duration) -> Result<(), ServiceError> {
        Ok(())
    }

    async fn restart(&self, _name: &str, _limit: Duration) -> Result<(), ServiceError> {
        Ok(())
    }

    async fn status(&self, _name: &str, _limit: Duration) -> Result<ServiceState, ServiceError> {
        let node = self.0.node;
        Ok(self.0.with(|w| {
            let search = &w.nodes[node].search;
            let up = Duration::from_nanos(w.now.saturating_sub(search.since));
            if search.up { ServiceState::Run { pid: 7, up } } else { ServiceState::Down { down: Duration::ZERO } }
        }))
    }

    async fn enable(&self, _name: &str, _limit: Duration) -> Result<(), ServiceError> {
        Ok(())
    }

    async fn disable(&self, _name: &str, _limit: Duration) -> Result<(), ServiceError> {
        Ok(())
    }
}
