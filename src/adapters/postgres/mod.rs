//! The real PostgreSQL 15: its files, its sessions, and the listener that detached walreceivers hang at.
//!
//! Processes are started, stopped and run by heart only; this adapter says how.

mod config;
mod control_file;
mod durable;
mod files;
mod init;
mod layout;
mod leading;
mod looking;
mod remake;
mod remote;
mod sentinel;
mod server;
mod session;
mod upstream;
mod wal_session;

pub use init::{InitError, init_database};

use crate::ports::PostgresError;
use crate::settings::Settings;
use crate::settings::secrets::Secrets;
use durable::cannot;
use files::Files;
use leaderl_decision::model::NodeId;
use sentinel::Sentinel;
use session::Sessions;
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;
use wal_session::WalSession;

/// How often a condition of the local server is looked at while something waits for it.
const POLL: std::time::Duration = std::time::Duration::from_millis(1);

/// The local PostgreSQL.
pub struct RealPostgres {
    files: Arc<Mutex<Files>>,
    sessions: Sessions,
    wal_session: WalSession,
    sentinel: OnceCell<Sentinel>,
    layout: layout::Layout,
    owner: durable::Owner,
    superuser: String,
    replication_user: String,
    passwords: Passwords,
}

struct Passwords {
    superuser: crate::settings::secrets::Secret,
    replication: crate::settings::secrets::Secret,
}

impl RealPostgres {
    /// Prepares to drive the server described by the settings; opens and writes nothing yet.
    pub fn new(settings: &Settings, secrets: &Secrets, guid: NodeId) -> Result<Self, PostgresError> {
        let owner = layout::owner(settings)?;
        let files = Files::new(settings.clone(), owner, guid, secrets.replication_password.clone());
        let layout = files.layout.clone();
        let pg = &settings.postgres;
        let socket = layout.socket_dir.join(format!(".s.PGSQL.{}", pg.port));
        Ok(Self {
            files: Arc::new(Mutex::new(files)),
            sessions: Sessions::new(settings, &layout),
            wal_session: WalSession::new(socket, pg.superuser.clone()),
            sentinel: OnceCell::new(),
            layout,
            owner,
            superuser: pg.superuser.clone(),
            replication_user: pg.replication_user.clone(),
            passwords: Passwords {
                superuser: secrets.superuser_password.clone(),
                replication: secrets.replication_password.clone(),
            },
        })
    }

    /// Does something with the files on the blocking pool, after everything that was begun before.
    ///
    /// What was begun is finished even when the caller is gone; that is why the promise is compared while the lock is held.
    async fn with_files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Files) -> Result<T, PostgresError> + Send + 'static,
    ) -> Result<T, PostgresError> {
        let files = self.files.clone();
        let task = tokio::task::spawn_blocking(move || {
            let mut files = files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            work(&mut files)
        });
        task.await.unwrap_or_else(|why| Err(PostgresError::Unfit(format!("the work on files was cut short ({why})"))))
    }

    /// The listener, opened at first use.
    async fn sentinel(&self) -> Result<&Sentinel, PostgresError> {
        let listen = || async {
            Sentinel::listen(&self.layout.sentinel_dir, self.owner)
                .map_err(cannot(format!("listen in {}", self.layout.sentinel_dir.display())))
        };
        self.sentinel.get_or_try_init(listen).await
    }
}
