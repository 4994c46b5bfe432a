//! How PostgreSQL's port asks: files at once, statements with their delay, waits by polling.

use super::postgres::SimPostgres;
use crate::postgres::Phase;
use crate::world::node::Disk;
use crate::world::reply::Reply;
use crate::world::{MS, World};
use leaderl::ports::PostgresError;
use leaderl_decision::model::Lsn;
use leaderl_decision::replication_plan::SyncNames;
use std::time::Duration;

pub(super) type Done<T> = Result<T, PostgresError>;

pub(super) fn unfit(text: &str) -> PostgresError {
    PostgresError::Unfit(text.to_owned())
}

impl SimPostgres {
    /// Changes files, unless the disk says no.
    pub(super) async fn change_files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut World, usize) -> T + Send + 'static,
    ) -> Done<T> {
        let node = self.0.node;
        let done = self.0.local(move |w| {
            let fits = !matches!(w.nodes[node].disk, Disk::Full | Disk::Failing);
            fits.then(|| work(w, node))
        });
        done.await.ok_or_else(|| unfit("no space left on device"))
    }

    /// A statement on the open session; `None` when the server does not take it.
    pub(super) async fn statement<T: Send + 'static>(
        &self,
        what: &str,
        limit: Duration,
        work: impl FnOnce(&mut World, usize) -> Option<T> + Send + 'static,
    ) -> Done<T> {
        let node = self.0.node;
        let asked = self.0.ask(limit, move |w, reply: Reply<Option<T>>| {
            let time = w.micros(200, 3000);
            w.after(time, move |w| answer_when_moving(w, node, reply, work));
        });
        match asked.await {
            Some(Some(answer)) => Ok(answer),
            Some(None) => Err(PostgresError::NoAnswer { whom: "here".into(), source: what.into() }),
            None => Err(PostgresError::TimedOut { what: what.to_owned(), limit }),
        }
    }

    /// Asks again every few milliseconds until the world says yes.
    pub(super) async fn until<T: Send + 'static>(
        &self,
        limit: Duration,
        look: impl Fn(&mut World, usize) -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let node = self.0.node;
        self.0.ask(limit, move |w, reply| poll(w, node, reply, look)).await
    }
}

/// A stopped server answers when it goes on.
fn answer_when_moving<T: Send + 'static>(
    w: &mut World,
    node: usize,
    reply: Reply<Option<T>>,
    work: impl FnOnce(&mut World, usize) -> Option<T> + Send + 'static,
) {
    let server = w.nodes[node].postgres.server.as_ref();
    if server.is_some_and(|server| server.frozen) && !reply.is_given_up() {
        return w.after(30 * MS, move |w| answer_when_moving(w, node, reply, work));
    }
    if reply.is_given_up() {
        return;
    }
    let answers = server.is_some_and(|server| !matches!(server.phase, Phase::Starting | Phase::Ending));
    let answer = if answers { work(w, node) } else { None };
    reply.send(answer);
}

fn poll<T: Send + 'static>(
    w: &mut World,
    node: usize,
    reply: Reply<T>,
    look: impl Fn(&mut World, usize) -> Option<T> + Send + 'static,
) {
    if reply.is_given_up() || !w.lives(reply.node, reply.incarnation) {
        return;
    }
    match look(w, node) {
        Some(answer) => reply.send(answer),
        None => w.after(4 * MS, move |w| poll(w, node, reply, look)),
    }
}

impl SimPostgres {
    pub(super) async fn checkpoint_once(&self, limit: Duration) -> Done<()> {
        let pid = self.statement("checkpoint", limit, |w, node| w.begin_checkpoint(node)).await?;
        let done = self.until(limit, move |w, node| w.checkpoint_done(node, pid)).await;
        match done {
            Some(true) => Ok(()),
            Some(false) => Err(unfit("the server ended during a checkpoint")),
            None => Err(PostgresError::TimedOut { what: "a checkpoint".into(), limit }),
        }
    }

    /// As the real adapter: a fresh session has the names, two checkpoints, every walsender agrees, then the position.
    pub(super) async fn prove(&self, names: &SyncNames, checkpoint: bool, limit: Duration) -> Done<Lsn> {
        let wanted = names.clone();
        let late = || PostgresError::TimedOut { what: "proving names".into(), limit };
        let fresh = self.until(limit, move |w, node| {
            let server = w.nodes[node].postgres.server.as_ref()?;
            (server.names == wanted && !server.frozen).then_some(())
        });
        fresh.await.ok_or_else(late)?;
        if checkpoint {
            self.checkpoint_once(limit).await?;
            self.checkpoint_once(limit).await?;
        }
        let wanted = names.clone();
        let agreed = self.until(limit, move |w, node| {
            let server = w.nodes[node].postgres.server.as_ref().filter(|server| !server.frozen)?;
            let agrees = server.senders.iter().all(|sender| {
                let named = wanted.names.contains(&sender.guid);
                sender.counted == named || named && !sender.streaming
            });
            agrees.then(|| w.flushed(node)).flatten()
        });
        agreed.await.ok_or_else(late)
    }
}
