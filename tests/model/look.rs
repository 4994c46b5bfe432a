//! One look of a daemon: `election::step` until it has nothing more to say, then PostgreSQL's pass.
//!
//! At most one transaction leaves the node in a look, and it is settled in it: it commits, or (a fault) its outcome stays unknown
//! and it may commit later. Reads are linearizable, and renewals are moves of their own.

use super::choices::Choices;
use super::heart::heart_facts;
use super::lens::{self, Lens, NOW, TTL};
use super::pass;
use super::world::{Compares, Election, Etcd, Keeper, Machine, Mark, NODES, Node, Process, Seat, Txn, Writes, only};
use leaderl_decision::cluster::ClusterView;
use leaderl_decision::cluster::high_water::HighWater;
use leaderl_decision::election::{self, Command, Event, Facts, State, Timing};
use leaderl_decision::failover_policy::OwnFaults;
use leaderl_decision::model::{ByteLag, Reason, Timestamp};
use leaderl_decision::postgres_report::{PostgresOrder, PostgresReport};
use leaderl_decision::records::LeaderValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// More steps than any look takes.
const MOST_STEPS: usize = 24;

/// How far a node's own clock is since it received the present leader key. Nothing remembers it: a look may find any age that
/// the run allows, and what a node did at a later age (its promise) holds it all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Age {
    #[default]
    Fresh,
    /// Past 2D/3: voters bid.
    Bidding,
    /// Past D: the seat may be taken; and past D again, so that nobody is waited for any more.
    Open,
}

/// What a node can see of another's PostgreSQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    pub(crate) process: Process,
    pub(crate) log: super::log::Log,
    /// It streams from here, and has flushed so much.
    pub(crate) follows: Option<u8>,
}

/// Everything that one look can depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Input {
    pub(crate) me: Node,
    pub(crate) machine: Machine,
    pub(crate) age: Age,
    /// A transaction of this node that it waits for is still on its way.
    pub(crate) waits: bool,
    /// A renewal of this node has just committed late.
    pub(crate) hears: bool,
    pub(crate) etcd: Etcd,
    pub(crate) peers: [Peer; NODES],
    /// A transaction may go astray.
    pub(crate) may_be_late: bool,
    /// The daemon may be killed between two effects on files and processes.
    pub(crate) may_be_cut: bool,
    /// heart may not hear an order.
    pub(crate) may_be_deaf: bool,
    /// A session of a killed daemon may still write names.
    pub(crate) sessions_outlive: bool,
    /// Processes obey a reload in their own time.
    pub(crate) reloads_lag: bool,
    /// etcd may be restored: versions and revisions are kept as they are. Otherwise they would make every change a new state.
    pub(crate) may_be_restored: bool,
    /// A nonce that nobody has used.
    pub(crate) fresh_nonce: u8,
    /// A number that no promotion and no stop has used.
    pub(crate) fresh_birth: u8,
}

/// What one look leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) machine: Machine,
    pub(crate) etcd: Etcd,
    pub(crate) late: Option<Txn>,
    pub(crate) claimed: bool,
    /// The daemon was killed in the middle of it.
    pub(crate) cut: bool,
    /// heart did not hear an order.
    pub(crate) deaf: bool,
    /// For people.
    pub(crate) said: Vec<String>,
}

/// A look under way.
pub(crate) struct Look<'a> {
    pub(crate) lens: &'a Lens,
    pub(crate) input: &'a Input,
    pub(crate) max_lag: u64,
    pub(crate) choices: &'a mut Choices,
    pub(crate) out: Output,
    view: ClusterView,
    now: Timestamp,
    order: Option<PostgresOrder>,
    pub(crate) wrote: bool,
}

impl<'a> Look<'a> {
    pub(crate) fn new(lens: &'a Lens, input: &'a Input, max_lag: u64, choices: &'a mut Choices) -> Self {
        let out = Output {
            machine: input.machine,
            etcd: input.etcd,
            late: None,
            claimed: false,
            cut: false,
            deaf: false,
            said: Vec::new(),
        };
        let now = match input.age {
            Age::Fresh => NOW,
            Age::Bidding => NOW.plus(TTL * 3 / 4),
            Age::Open => NOW.plus(TTL * 3 / 2),
        };
        let view = ClusterView::default();
        Self { lens, input, max_lag, choices, out, view, now, order: None, wrote: false }
    }

    pub(crate) fn run(mut self) -> Output {
        self.see();
        let first = self.first_event();
        if matches!(first, Event::Renewed { .. }) {
            self.out.machine.election.hold_mut().into_iter().for_each(|hold| hold.old = false);
        }
        let Some(state) = lens::state(self.out.machine.election) else { return self.out };
        self.out.machine.told_to_stop = false;
        self.decide(state, first);
        if let Some(order) = self.order.take() {
            pass::run(&mut self, &order, None);
        }
        self.post_status();
        self.out
    }

    /// What the node has heard since its last look.
    fn first_event(&self) -> Event {
        let ours = match self.out.etcd.leader {
            Seat::Holder { node, nonce, .. } if node == self.input.me => Some(nonce),
            Seat::Holder { .. } | Seat::Vacancy { .. } | Seat::Absent => None,
        };
        let revision = lens::revision(self.out.etcd.leader_rev);
        match self.out.machine.election {
            Election::Claiming { hold, .. } => {
                let nonce = lens::nonce(hold.nonce);
                match (ours == Some(hold.nonce), self.input.waits) {
                    (true, _) => Event::ClaimWon { nonce, revision },
                    (false, true) => Event::Look,
                    (false, false) => Event::ClaimLost { nonce },
                }
            }
            Election::SteppingDown(down) if self.input.hears && ours == Some(down.hold.nonce) => {
                Event::Renewed { nonce: lens::nonce(down.hold.nonce), seq: 2, t0: NOW, revision }
            }
            _ if self.out.machine.told_to_stop => Event::StopForGood,
            _ => Event::Look,
        }
    }

    /// What the election orders PostgreSQL to be; `None` when it has something to send first.
    pub(crate) fn decided_order(&mut self) -> Option<PostgresOrder> {
        let state = lens::state(self.out.machine.election)?;
        self.see();
        self.wrote = true;
        self.decide(state, Event::Look);
        self.wrote = false;
        self.order.take()
    }

    /// The watch has caught up.
    pub(crate) fn see(&mut self) {
        self.view = self.lens.view(&self.out.etcd);
        if !self.input.may_be_restored {
            return;
        }
        let mark = &mut self.out.machine.high_water;
        let mut water = HighWater {
            store_id: u64::from(mark.revision != 0),
            revision: lens::revision(mark.revision),
            epoch: lens::epoch(mark.epoch),
            voters_version: mark.version.into(),
            went_back: mark.went_back.then(|| Reason::new("control-state-went-back", "")),
        };
        self.view.went_back = water.judge(&self.view);
        water.raise(&self.view);
        mark.revision = lens::rev(water.revision);
        mark.epoch = lens::small(water.epoch.0);
        mark.version = lens::small(water.voters_version);
        mark.went_back = water.went_back.is_some();
    }

    fn decide(&mut self, mut state: State, mut event: Event) {
        let mut patience = 0;
        let mut report = pass::report(self);
        for _ in 0..MOST_STEPS {
            let (after, commands) = self.step(state.clone(), &event, &report);
            if self.wrote && commands.iter().any(is_write) {
                break;
            }
            let changed = after != state;
            state = after;
            let mut answer = None;
            for command in commands {
                answer = self.carry_out(command).or(answer);
            }
            report = pass::report(self);
            event = match answer {
                Some(answer) => answer,
                None if changed => Event::Look,
                // Ranks and catching up wait for moments; nothing else may depend on them.
                None if patience == 0 => {
                    patience = 1;
                    self.now = self.now.plus(Duration::from_secs(1));
                    Event::Look
                }
                // Somebody has written more than was acknowledged, and has been waited for.
                None if patience == 1 && self.input.age == Age::Open && matches!(state, State::Observing(_)) => {
                    patience = 2;
                    self.now = self.now.plus(TTL);
                    Event::Look
                }
                None => break,
            };
        }
        let old = self.out.machine.election.hold_mut().is_some_and(|hold| hold.old);
        self.out.machine.election = lens::election(&state, old);
    }

    fn step(&self, state: State, event: &Event, report: &PostgresReport) -> (State, Vec<Command>) {
        let heart = heart_facts(&self.out.machine, self.lens.doorless);
        let facts = Facts {
            now: self.now,
            me: self.lens.id(self.input.me),
            boot_id: "",
            timing: Timing { ttl: TTL },
            mode: self.lens.mode,
            priority: 100,
            max_lag: ByteLag(self.max_lag),
            promote_deadline: Duration::from_secs(3600),
            cluster: Some(&self.view),
            heart: Some(&heart),
            postgres: report,
            tripped: &BTreeMap::new(),
            faults: OwnFaults { ended_at: &[], most: 0, window: Duration::ZERO },
            fresh_nonce: &lens::nonce(self.input.fresh_nonce),
        };
        election::step(state, event, &facts)
    }

    fn carry_out(&mut self, command: Command) -> Option<Event> {
        match command {
            Command::ReadLeader => return Some(Event::LeaderRead(lens::revision(self.out.etcd.leader_rev))),
            Command::CreateVacancy(vacancy) => {
                let writes = Writes::Seat(self.lens.seat(&LeaderValue::Vacancy(vacancy)));
                let compares = Compares { leader: Some(0), ..Compares::default() };
                self.send(compares, writes, false, "create-vacancy".to_owned());
                return Some(Event::EffectEnded);
            }
            Command::PutBid(bid) => {
                self.put_bid(&bid);
                return Some(Event::EffectEnded);
            }
            Command::Claim(claim) => return Some(self.claim(&claim)),
            Command::Adopt { holder, revision } => return Some(self.adopt(holder, lens::rev(revision))),
            Command::SendVacancy { hold, vacancy } => {
                self.resign(&hold, LeaderValue::Vacancy(vacancy));
                return Some(Event::VacancySent);
            }
            Command::Checkpoint => return Some(Event::CheckpointEnded),
            Command::ReleaseVip => {
                self.out.machine.heart.vip = false;
                return Some(Event::VipGone);
            }
            Command::Arm { hold } => self.arm(&hold),
            Command::Disarm { .. } if self.input.may_be_deaf && self.choices.pick(2) == 1 => {
                self.out.said.push("heart is not disarmed".to_owned());
                self.out.deaf = true;
            }
            Command::Disarm { epoch } => {
                let heart = &mut self.out.machine.heart;
                heart.armed = heart.armed.filter(|armed| lens::epoch(armed.epoch) != epoch);
            }
            Command::OrderPostgres(order) => self.order = Some(order),
            Command::AssignVip { epoch } => self.assign_vip(lens::small(epoch.0)),
            Command::SetDoor { epoch, door } => self.set_door(lens::small(epoch.0), door),
            Command::KeepVoters { epoch, .. } => {
                let epoch = lens::small(epoch.0);
                let kept = self.out.machine.keeper.filter(|keeper| keeper.epoch == epoch);
                self.out.machine.keeper = Some(kept.unwrap_or(Keeper { epoch, own_put: false }));
            }
            Command::RestVoters => self.out.machine.keeper = None,
            // Renewals are moves; heart is never silent here; requests and the journal change nothing.
            Command::Renew { .. }
            | Command::StopRenewing { .. }
            | Command::KillHeart
            | Command::UpdateRequest { .. }
            | Command::Record { .. } => {}
        }
        None
    }

    fn post_status(&mut self) {
        let me = only(self.input.me);
        let marked = self.out.machine.postgres.mark != Mark::None;
        self.out.etcd.unsynced = if marked { self.out.etcd.unsynced | me } else { self.out.etcd.unsynced & !me };
    }
}

fn is_write(command: &Command) -> bool {
    matches!(
        command,
        Command::CreateVacancy(_)
            | Command::PutBid(_)
            | Command::Claim(_)
            | Command::Adopt { .. }
            | Command::SendVacancy { .. }
    )
}
