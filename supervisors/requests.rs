//! What can be asked of a supervisor while it runs, with OTP's answers.

use ractor::{ActorCell, ActorStatus};
use tokio::sync::oneshot;

use crate::children::{Child, ChildState, Record};
use crate::dynamic_flock::{DynamicChild, DynamicFlock, DynamicKey};
use crate::errors::{ChildSpecError, DeleteChildError, RestartChildError, StartChildError, TerminateChildError};
use crate::process::Process;
use crate::snapshot::{ChildCounts, ChildInfo, ChildSnapshot, SupervisorSnapshot};
use crate::spec::{ChildId, ChildKind, ChildPolicy, ChildSpec, Restart};
use crate::spec_check::check_child;
use crate::start::{Info, StartChild, StartError, Started};
use crate::static_flock::{StaticFlock, stop};
use crate::supervisor::{Core, Flock, Retry};

type Reply<T> = oneshot::Sender<T>;

/// A question and where the answer goes.
pub(crate) enum Request<Id> {
    StartChild(ChildSpec<Id>, Reply<Result<StartedChild, StartChildError<Id>>>),
    StartDynamic(StartChild<Id>, Reply<Result<StartedChild, StartChildError<Id>>>),
    Terminate(ChildKey<Id>, Reply<Result<(), TerminateChildError>>),
    Restart(ChildKey<Id>, Reply<Result<StartedChild, RestartChildError<Id>>>),
    Replace(Id, Reply<Result<(), ReplaceError<Id>>>),
    Delete(ChildKey<Id>, Reply<Result<(), DeleteChildError>>),
    GetSpec(ChildKey<Id>, Reply<Result<ChildPolicy<Id>, ChildSpecError>>),
    Which(Reply<Vec<ChildInfo<Id>>>),
    Count(Reply<ChildCounts>),
    Snapshot(Reply<SupervisorSnapshot<Id>>),
}

/// Why a child was not replaced at once.
pub(crate) enum ReplaceError<Id> {
    NotFound,
    /// It is stopped, did not start again, and is tried again.
    Failed(StartError<Id>),
}

/// How a request names a child: by its id, or, under a dynamic supervisor, by its actor.
#[derive(Debug, Clone)]
pub enum ChildKey<Id> {
    /// The child of a static supervisor.
    Id(Id),
    /// The child of a dynamic supervisor. Its last actor still names it while it is being restarted.
    Actor(ActorCell),
}

impl<Id: ChildId> From<Id> for ChildKey<Id> {
    fn from(id: Id) -> Self {
        Self::Id(id)
    }
}

/// A child that was started on request.
#[derive(Clone)]
pub struct StartedChild {
    /// `None`: the start function found nothing to run.
    pub actor: Option<ActorCell>,
    /// What the start function [added](Started::with_info).
    pub info: Option<Info>,
}

impl StartedChild {
    fn of<Id: ChildId>(started: &Started<Id>) -> Self {
        Self { actor: started.cell(), info: started.info().cloned() }
    }
}

pub(crate) async fn serve<Id: ChildId>(core: &Core<Id>, flock: &mut Flock<Id>, request: Request<Id>) {
    // Whoever asked may be gone: an answer that nobody awaits is dropped.
    match (request, flock) {
        (Request::StartChild(spec, reply), Flock::Static(flock)) => {
            drop(reply.send(flock.start_child(core, spec).await))
        }
        (Request::StartDynamic(start, reply), Flock::Dynamic(flock)) => {
            drop(reply.send(flock.start_child(core, start).await))
        }
        (Request::StartChild(_, reply), Flock::Dynamic(_)) | (Request::StartDynamic(_, reply), Flock::Static(_)) => {
            drop(reply.send(Err(StartChildError::WrongKind)));
        }
        (Request::Terminate(key, reply), Flock::Static(flock)) => drop(reply.send(flock.terminate(core, key).await)),
        (Request::Terminate(key, reply), Flock::Dynamic(flock)) => drop(reply.send(flock.terminate(core, key).await)),
        (Request::Restart(key, reply), Flock::Static(flock)) => drop(reply.send(flock.restart_child(core, key).await)),
        (Request::Restart(_, reply), Flock::Dynamic(_)) => drop(reply.send(Err(RestartChildError::Dynamic))),
        (Request::Replace(id, reply), Flock::Static(flock)) => drop(reply.send(flock.replace(core, id).await)),
        (Request::Replace(_, reply), Flock::Dynamic(_)) => drop(reply.send(Err(ReplaceError::NotFound))),
        (Request::Delete(key, reply), Flock::Static(flock)) => drop(reply.send(flock.delete(key))),
        (Request::Delete(_, reply), Flock::Dynamic(_)) => drop(reply.send(Err(DeleteChildError::Dynamic))),
        (Request::GetSpec(key, reply), flock) => drop(reply.send(get_spec(flock, key))),
        (Request::Which(reply), flock) => drop(reply.send(which(flock))),
        (Request::Count(reply), flock) => drop(reply.send(count(flock))),
        (Request::Snapshot(reply), flock) => drop(reply.send(snapshot(core, flock))),
    }
}

impl<Id: ChildId> StaticFlock<Id> {
    async fn start_child(&mut self, core: &Core<Id>, spec: ChildSpec<Id>) -> Result<StartedChild, StartChildError<Id>> {
        check_child(&spec.policy, core.auto_shutdown).map_err(StartChildError::Spec)?;
        if let Some(place) = self.children.place(spec.id()) {
            return Err(match self.children.at(place).record.process() {
                Some(process) => StartChildError::AlreadyStarted(process.cell().clone()),
                None => StartChildError::AlreadyPresent,
            });
        }
        let started = core.start(&spec.policy, &spec.start).await.map_err(StartChildError::Failed)?;
        let answer = StartedChild::of(&started);
        if answer.actor.is_some() || spec.policy.restart != Restart::Temporary {
            let mut child = Child::new(spec);
            child.record.set(ChildState::of(started));
            self.children.push(child);
        }
        Ok(answer)
    }

    async fn terminate(&mut self, core: &Core<Id>, key: ChildKey<Id>) -> Result<(), TerminateChildError> {
        let place = self.find(&key).ok_or(TerminateChildError::NotFound)?;
        stop(core, self.children.at(place)).await;
        self.children.retire(place);
        Ok(())
    }

    async fn restart_child(
        &mut self,
        core: &Core<Id>,
        key: ChildKey<Id>,
    ) -> Result<StartedChild, RestartChildError<Id>> {
        let place = self.find(&key).ok_or(RestartChildError::NotFound)?;
        let child = self.children.at(place);
        match child.record.state {
            ChildState::Running(..) => return Err(RestartChildError::Running),
            ChildState::Restarting(_) => return Err(RestartChildError::Restarting),
            ChildState::Down => {}
        }
        let started = core.start(&child.spec.policy, &child.spec.start).await.map_err(RestartChildError::Failed)?;
        let answer = StartedChild::of(&started);
        self.children.at_mut(place).record.set(ChildState::of(started));
        Ok(answer)
    }

    /// Stops a child and starts it again in one turn, so that it cannot be left stopped half-way. A start that fails is
    /// tried again as after a failed restart.
    async fn replace(&mut self, core: &Core<Id>, id: Id) -> Result<(), ReplaceError<Id>> {
        let place = self.children.place(&id).ok_or(ReplaceError::NotFound)?;
        stop(core, self.children.at(place)).await;
        if self.children.at(place).is_temporary() {
            self.children.remove(place);
            return Ok(());
        }
        let child = self.children.at_mut(place);
        child.record.set(ChildState::Down);
        match core.start(&child.spec.policy, &child.spec.start).await {
            Ok(started) => {
                child.record.set(ChildState::of(started));
                Ok(())
            }
            Err(error) => {
                core.report_failed_restart(&child.spec.policy, &error);
                child.record.set(ChildState::Restarting(None));
                core.retry_later(Retry::Static(id));
                Err(ReplaceError::Failed(error))
            }
        }
    }

    fn delete(&mut self, key: ChildKey<Id>) -> Result<(), DeleteChildError> {
        let place = self.find(&key).ok_or(DeleteChildError::NotFound)?;
        match self.children.at(place).record.state {
            ChildState::Running(..) => Err(DeleteChildError::Running),
            ChildState::Restarting(_) => Err(DeleteChildError::Restarting),
            ChildState::Down => {
                self.children.remove(place);
                Ok(())
            }
        }
    }

    /// An actor is no id here.
    fn find(&self, key: &ChildKey<Id>) -> Option<usize> {
        match key {
            ChildKey::Id(id) => self.children.place(id),
            ChildKey::Actor(_) => None,
        }
    }
}

impl<Id: ChildId> DynamicFlock<Id> {
    async fn start_child(
        &mut self,
        core: &Core<Id>,
        start: StartChild<Id>,
    ) -> Result<StartedChild, StartChildError<Id>> {
        let started = core.start(&self.template, &start).await.map_err(StartChildError::Failed)?;
        let answer = StartedChild::of(&started);
        if let Some(actor) = &answer.actor {
            let mut record = Record::new();
            record.set(ChildState::of(started));
            self.children.insert(DynamicKey::Running(actor.get_id()), DynamicChild { start, record });
        }
        Ok(answer)
    }

    async fn terminate(&mut self, core: &Core<Id>, key: ChildKey<Id>) -> Result<(), TerminateChildError> {
        let actor = match key {
            ChildKey::Id(_) => return Err(TerminateChildError::Dynamic),
            ChildKey::Actor(actor) => actor,
        };
        let Some(key) = self.find(actor.get_id()) else {
            if is_alive(&actor) {
                return Err(TerminateChildError::NotFound);
            }
            // A dead stranger is a child that was forgotten already. It has no process, so OTP 25 forgets the entry that
            // has none.
            self.children.remove(&DynamicKey::Ignored);
            return Ok(());
        };
        if let Some(process) = self.children.remove(&key).as_ref().and_then(|child| child.record.process()) {
            process.shut_down().await;
            core.report_odd_stop(&self.template, process);
        }
        Ok(())
    }
}

fn is_alive(actor: &ActorCell) -> bool {
    match actor.get_status() {
        ActorStatus::Unstarted
        | ActorStatus::Starting
        | ActorStatus::Running
        | ActorStatus::Upgrading
        | ActorStatus::Draining => true,
        ActorStatus::Stopping | ActorStatus::Stopped => false,
    }
}

fn get_spec<Id: ChildId>(flock: &Flock<Id>, key: ChildKey<Id>) -> Result<ChildPolicy<Id>, ChildSpecError> {
    match (flock, key) {
        (Flock::Static(flock), key) => {
            let place = flock.find(&key).ok_or(ChildSpecError::NotFound)?;
            Ok(flock.children.at(place).spec.policy.clone())
        }
        (Flock::Dynamic(flock), ChildKey::Actor(actor)) => {
            let known = flock.find(actor.get_id()).is_some() || !is_alive(&actor);
            if known { Ok(flock.template.clone()) } else { Err(ChildSpecError::NotFound) }
        }
        (Flock::Dynamic(flock), ChildKey::Id(id)) if flock.template.id == id => Ok(flock.template.clone()),
        (Flock::Dynamic(_), ChildKey::Id(_)) => Err(ChildSpecError::NotFound),
    }
}

fn which<Id: ChildId>(flock: &Flock<Id>) -> Vec<ChildInfo<Id>> {
    match flock {
        Flock::Static(flock) => {
            let infos = flock.children.iter().rev();
            infos.map(|child| ChildInfo::of(Some(child.id().clone()), child.spec.policy.kind, &child.record)).collect()
        }
        Flock::Dynamic(flock) => {
            let kind = flock.template.kind;
            flock.children.values().map(|child| ChildInfo::of(None, kind, &child.record)).collect()
        }
    }
}

fn count<Id: ChildId>(flock: &Flock<Id>) -> ChildCounts {
    match flock {
        Flock::Static(flock) => {
            let mut counts = ChildCounts::default();
            for child in flock.children.iter() {
                counts.specs += 1;
                counts.active += usize::from(child.record.process().is_some_and(Process::is_alive));
                match child.spec.policy.kind {
                    ChildKind::Supervisor => counts.supervisors += 1,
                    ChildKind::Worker => counts.workers += 1,
                }
            }
            counts
        }
        Flock::Dynamic(flock) => {
            let all = flock.children.len();
            let (supervisors, workers) = match flock.template.kind {
                ChildKind::Supervisor => (all, 0),
                ChildKind::Worker => (0, all),
            };
            ChildCounts { specs: 1, active: flock.active(), supervisors, workers }
        }
    }
}

fn snapshot<Id: ChildId>(core: &Core<Id>, flock: &Flock<Id>) -> SupervisorSnapshot<Id> {
    let (strategy, children) = match flock {
        Flock::Static(flock) => {
            let children = flock.children.iter();
            let children = children.map(|child| ChildSnapshot::of(&child.spec.policy, &child.record)).collect();
            (Some(flock.strategy), children)
        }
        Flock::Dynamic(flock) => {
            let children = flock.children.values();
            (None, children.map(|child| ChildSnapshot::of(&flock.template, &child.record)).collect())
        }
    };
    SupervisorSnapshot { strategy, intensity: core.intensity, recent_restarts: core.recent_restarts(), children }
}
