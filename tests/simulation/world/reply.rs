//! Questions of a daemon to the world, and their answers.

use super::{Shared, World, drive, lock};
use std::time::Duration;
use tokio::sync::oneshot;

const FOR_EVER: Duration = Duration::from_secs(100_000);

/// Where an answer goes. Dropped without an answer, the asker waits on until its own limit: as with a lost packet.
pub(crate) struct Reply<T> {
    to: Option<oneshot::Sender<T>>,
    /// Who asks: node and incarnation of its daemon.
    pub(crate) node: usize,
    pub(crate) incarnation: u64,
}

impl<T> Reply<T> {
    /// Answers; whoever asked may have given up.
    pub(crate) fn send(mut self, answer: T) {
        if let Some(to) = self.to.take() {
            let _given_up = to.send(answer);
        }
    }

    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.to.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

/// One daemon's way to the world.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) world: Shared,
    pub(crate) node: usize,
    pub(crate) incarnation: u64,
}

/// Counts a question as under way for as long as it lives.
struct Waiting<'a>(&'a Shared);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(self.0).in_flight -= 1;
    }
}

impl Line {
    /// Asks the world; `None` when no answer came within `limit` on this node's clock.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        limit: Duration,
        question: impl FnOnce(&mut World, Reply<T>) + Send + 'static,
    ) -> Option<T> {
        let (to, answer) = oneshot::channel();
        let reply = Reply { to: Some(to), node: self.node, incarnation: self.incarnation };
        {
            let mut world = lock(&self.world);
            world.in_flight += 1;
            let at = world.now + drive::elapsed();
            world.submit(self.node, self.incarnation, at, Box::new(move |world| question(world, reply)));
        }
        let _waiting = Waiting(&self.world);
        let answered = async {
            match answer.await {
                Ok(answer) => answer,
                // Lost on the way: only the limit ends this.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::time::timeout(limit, answered).await.ok()
    }

    /// Does something with this node's own files: at once, unless the process has just been stopped or killed.
    pub(crate) async fn local<T: Send + 'static>(&self, work: impl FnOnce(&mut World) -> T + Send + 'static) -> T {
        let (node, incarnation) = (self.node, self.incarnation);
        let goes_on = self.with(|world| {
            if world.lives(node, incarnation) {
                world.pass_stop_point(node);
            }
            world.lives(node, incarnation) && !world.nodes[node].daemon.frozen
        });
        if goes_on {
            return self.with(work);
        }
        let asked = self.ask(FOR_EVER, move |world, reply| reply.send(work(world))).await;
        match asked {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    /// Looks at the world, or changes what is this node's alone, at once.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut lock(&self.world))
    }
}
