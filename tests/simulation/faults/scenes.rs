//! Faults that belong together: each is the run, or a part of the run, in which one of the safety rules matters.

use super::Scope;
use super::kinds::{self, Kind};
use crate::world::{MS, SEC, Time, World, note};
use leaderl::actors::api::admin_protocol::{AdminRequest, Intervention};

/// What shall happen when something is written next.
pub(crate) struct Ambush {
    on: On,
    /// Only by this node.
    by: Option<usize>,
    kind: Kind,
    /// Longest delay after it.
    within: Time,
    lasts: Time,
    until: Time,
}

/// What an ambush waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// A new epoch is taken: its holder is hit.
    Claim,
    /// The holder changes the voters, in etcd or in PostgreSQL's names.
    Voters,
    /// A bid is recorded.
    Bid,
    /// A standby's conninfo is pointed at its own daemon.
    LetsGo,
    /// A copy that was remade answers for the first time, and has not caught up.
    Remade,
}

pub(super) fn apply(w: &mut World, kind: Kind, id: usize, lasts: Time) {
    match kind {
        Kind::LoseProcesses => lose_processes(w, id, lasts),
        Kind::ChaseProcesses => w.ambush(On::Claim, Kind::LoseProcesses, 1500 * MS, lasts),
        Kind::ChaseEtcdCut => w.ambush(On::Claim, Kind::CutFromEtcd, 500 * MS, lasts),
        Kind::ChaseVoters => w.ambush(On::Voters, Kind::LoseProcesses, 400 * MS, lasts),
        Kind::LagOne => {
            if let Some(to) = w.other_than(id) {
                cut_stream(w, id, to, lasts);
            }
        }
        Kind::StallOne => {
            if let Some(to) = w.other_than(id) {
                stall_stream(w, id, to, lasts);
            }
        }
        Kind::OneVoterLeft => one_voter_left(w, id, lasts),
        Kind::CrashAlone => crash_alone(w, id, lasts),
        Kind::Reacquire => reacquire(w, id, lasts),
        Kind::LateAnswers => w.late_answers(id, lasts),
        Kind::LateAnswersThenCut | Kind::LateAnswersThenFreeze => late_then(w, kind, id, lasts),
        Kind::LateRequests => {
            w.etcd.late_requests.insert(id, w.now + lasts);
        }
        Kind::KillThenCut => {
            w.kill_daemon(id, "fault, to be cut off when it is back");
            let back = w.millis(300, 3500);
            w.later(back, move |w| kinds::apply(w, Kind::CutFromAll, id, lasts));
        }
        Kind::RefreshLate => refresh_late(w, id, lasts),
        _ => apply_more(w, kind, id, lasts),
    }
}

fn apply_more(w: &mut World, kind: Kind, id: usize, lasts: Time) {
    match kind {
        Kind::StuckBackend => {
            w.nodes[id].postgres.stuck_until = w.now + lasts;
            let wait = w.millis(0, 800);
            let then =
                *w.rng.pick(&[Kind::Demote, Kind::KillPostmaster, Kind::KillPostmaster]).unwrap_or(&Kind::Demote);
            w.later(wait, move |w| kinds::apply(w, then, id, lasts));
        }
        Kind::SlowReload => {
            w.nodes[id].postgres.slow_reload = w.millis(200, 4000);
            w.undo(lasts, Scope::Process, id, move |w| w.nodes[id].postgres.slow_reload = 0);
        }
        Kind::DeleteLeaderKey => {
            note!(w, "etcd: somebody deletes the leader key by hand");
            let key = w.keys.leader();
            w.etcd.kv.apply(&[], &[leaderl::ports::Write::Delete { key }], &[]);
            w.truth.key_deleted = Some(w.now);
            w.etcd_apply_everywhere();
        }
        Kind::EtcdRestored => w.restore_etcd(),
        Kind::PanicLoop => panic_loop(w, id),
        Kind::OffWithBest => off_with_best(w, id),
        Kind::LongerOldLine => longer_old_line(w, id),
        Kind::LateVoters => {
            kinds::apply(w, Kind::CutReplication, id, 3500 * MS);
            w.etcd.hold_voters = Some((id, w.now + 12 * SEC));
        }
        Kind::FreezeThenLose => {
            // Whatever was to follow does not follow.
            w.freeze_daemon(id);
            w.undo(4 * SEC, Scope::Process, id, move |w| w.thaw_daemon(id));
            let loss = w.millis(200, 2200);
            w.later(loss, move |w| lose_processes(w, id, lasts));
        }
        Kind::ChaseVotersFrozen => {
            let within = *w.rng.pick(&[15, 60, 250]).unwrap_or(&15);
            w.ambush(On::Voters, Kind::FreezeThenLose, within * MS, lasts + 8 * SEC);
        }
        Kind::ReturnSlowly => {
            let alone = w.millis(2600, 4500);
            kinds::apply(w, Kind::CutReplication, id, alone);
            w.later(alone, move |w| {
                w.nodes[id].postgres.slow_reload = 5 * SEC;
                w.undo(9 * SEC, Scope::Process, id, move |w| w.nodes[id].postgres.slow_reload = 0);
                w.ambush(On::Voters, Kind::LoseProcesses, 2500 * MS, lasts + 8 * SEC);
            });
        }
        Kind::SwitchAtClaim => {
            lose_processes(w, id, lasts + 8 * SEC);
            w.etcd.hold_claims_until = w.now + 20 * SEC;
        }
        Kind::HeldVoters => {
            w.etcd.hold_voters = Some((id, w.now + 12 * SEC));
            w.etcd.hold_any_voters = true;
            let other = *w.rng.pick(&[Kind::CutReplication, Kind::LagOne]).unwrap_or(&Kind::LagOne);
            kinds::apply(w, other, id, 3500 * MS);
        }
        Kind::OldPrimaryLives => old_primary_lives(w, id, lasts),
        Kind::ResignThenLose => super::more::resign_then_lose(w, id, lasts),
        _ => {}
    }
}

/// Daemon, heart and PostgreSQL of a node end and stay away; its member of etcd goes on.
pub(super) fn lose_processes(w: &mut World, id: usize, lasts: Time) {
    if w.nodes[id].daemon.wanted {
        w.nodes[id].daemon.wanted = false;
        w.kill_daemon(id, "every process of ours");
        w.heart_dies(id, false);
        w.postgres_crashes(id);
        w.no_process_is_left_over(id);
        w.undo(lasts, Scope::Process, id, move |w| {
            w.heart_starts(id);
            w.nodes[id].daemon.wanted = true;
            let wait = w.millis(50, 900);
            w.after(wait, move |w| w.start_daemon(id));
        });
    }
}

/// Nothing of one stream comes through; the other follower's does.
pub(super) fn cut_stream(w: &mut World, id: usize, to: usize, lasts: Time) {
    for (from, to) in [(id, to), (to, id)] {
        w.net.link_mut(from, to).postgres_cuts += 1;
        w.undo(lasts, Scope::Link, id, move |w| {
            let cuts = &mut w.net.link_mut(from, to).postgres_cuts;
            *cuts = cuts.saturating_sub(1);
        });
    }
}

/// One walsender stands still: its row says `streaming`, its position stays.
fn stall_stream(w: &mut World, id: usize, to: usize, lasts: Time) {
    let Some(server) = w.nodes[id].postgres.server.as_mut() else { return };
    server.senders.iter_mut().filter(|sender| sender.to == to).for_each(|sender| sender.frozen = true);
    w.undo(lasts, Scope::Process, id, move |w| {
        if let Some(server) = w.nodes[id].postgres.server.as_mut() {
            server.senders.iter_mut().filter(|sender| sender.to == to).for_each(|sender| {
                sender.frozen = false;
                sender.in_flight = false;
            });
        }
    });
}

/// One follower lags, the other is lost, and so is the leader as soon as it draws a consequence, or soon.
fn one_voter_left(w: &mut World, id: usize, lasts: Time) {
    let (Some(lags), Some(server)) = (w.other_than(id), w.nodes[id].postgres.server.as_ref()) else { return };
    let lost = server.senders.iter().map(|sender| sender.to).find(|to| *to != lags);
    let long = lasts + 6 * SEC;
    if w.rng.percent(50) {
        stall_stream(w, id, lags, long);
    } else {
        cut_stream(w, id, lags, long);
    }
    let soon = w.millis(50, 900);
    let Some(lost) = lost else { return };
    if w.rng.percent(50) {
        // The follower that has everything goes first.
        w.later(soon, move |w| lose_processes(w, lost, long + 8 * SEC));
        if w.rng.percent(50) {
            w.ambush(On::Voters, Kind::LoseProcesses, 300 * MS, long);
        } else {
            let then = soon + w.millis(300, 3000);
            w.later(then, move |w| lose_processes(w, id, long));
        }
    } else {
        w.later(soon, move |w| lose_processes(w, id, long));
        w.ambush(On::Claim, Kind::LoseProcesses, 250 * MS, long + 8 * SEC);
    }
}

/// A primary without followers crashes, leads again, is read, and is lost.
fn crash_alone(w: &mut World, id: usize, lasts: Time) {
    kinds::apply(w, Kind::CutReplication, id, lasts + 8 * SEC);
    let (crash, loss) = (w.millis(300, 1500), w.millis(2500, 6500));
    if w.rng.percent(50) {
        w.ambush(On::Claim, Kind::LoseProcesses, 2500 * MS, lasts + 8 * SEC);
    }
    let how = *w.rng.pick(&[Kind::KillPostgres, Kind::KillPostmaster, Kind::KillDaemon]).unwrap_or(&Kind::KillPostgres);
    w.later(crash, move |w| kinds::apply(w, how, id, lasts));
    w.later(loss, move |w| lose_processes(w, id, lasts + 8 * SEC));
}

/// The last leader takes the key again, loses etcd before its first renewal, and one follower sees nothing of what follows.
fn reacquire(w: &mut World, id: usize, lasts: Time) {
    let Some(lags) = w.other_than(id) else { return };
    w.ambush(On::Claim, Kind::CutFromEtcd, 250 * MS, lasts + 12 * SEC);
    kinds::apply(w, Kind::KillPostgres, id, lasts);
    let cut = w.millis(100, 900);
    w.later(cut, move |w| cut_stream(w, id, lags, lasts + 12 * SEC));
    let loss = w.millis(1500, 4000);
    let other = (0..w.nodes.len()).find(|other| *other != id && *other != lags);
    if let Some(other) = other {
        w.later(loss, move |w| lose_processes(w, other, lasts + 12 * SEC));
    }
}

/// What was committed is answered late; then nothing is heard any more.
fn late_then(w: &mut World, kind: Kind, id: usize, lasts: Time) {
    let late = w.millis(1200, 4000);
    w.late_answers(id, late + SEC);
    let then = if kind == Kind::LateAnswersThenCut { Kind::CutFromAll } else { Kind::FreezeDaemon };
    w.later(late, move |w| kinds::apply(w, then, id, lasts + 8 * SEC));
}

/// heart is stopped in the middle of a refresh, goes on just before its deadline, and is stopped again.
fn refresh_late(w: &mut World, id: usize, lasts: Time) {
    w.freeze_daemon(id);
    w.undo(lasts + 9 * SEC, Scope::Process, id, move |w| w.thaw_daemon(id));
    let stands = w.millis(800, 2600);
    w.nodes[id].heart.stop_at_refresh = Some(stands);
    w.nodes[id].heart.stop_after_refresh = Some(lasts + 8 * SEC);
}

/// Actors are killed faster than any supervisor accepts.
fn panic_loop(w: &mut World, id: usize) {
    for number in 0..14 {
        let at = number * 90 * MS;
        w.later(at, move |w| {
            let actor = if number % 2 == 0 { "coordination" } else { "election" }.to_owned();
            w.order(id, &AdminRequest::ActorIntervene { actor, how: Intervention::Kill });
        });
    }
}

/// The best copy is on a node that may not lead, for good: others must fetch from it (rule R14).
fn off_with_best(w: &mut World, id: usize) {
    if w.faults.stays_off.is_some() || w.nodes.len() < 3 {
        return;
    }
    let off = w.millis(200, 1000);
    // Before it degrades its voters have all that was acknowledged, and afterwards nobody else.
    let (cut, crash) = if w.rng.percent(50) { (2500, w.millis(1100, 1900)) } else { (4500, w.millis(3000, 4000)) };
    kinds::apply(w, Kind::CutReplication, id, cut * MS);
    w.later(off, move |w| {
        if w.truth.holder == Some(id) {
            w.faults.stays_off = Some(id);
            w.faults.note_switch(id, Some(w.now));
            w.switch_for_sure(Some(id), false);
        }
    });
    w.later(crash, move |w| kinds::apply(w, Kind::KillPostgres, id, SEC));
}

/// A leader that nobody follows writes much and is lost; its successor acknowledges little and is lost as the first returns.
fn longer_old_line(w: &mut World, id: usize) {
    kinds::apply(w, Kind::CutReplication, id, 3 * SEC);
    let number = w.truth.fresh_id();
    let writes = w.is_writable(id);
    if let Some(data) = w.nodes[id].postgres.data.as_mut().filter(|_| writes) {
        data.append(crate::postgres::What::Other, 900_000, number);
    }
    let away = w.millis(6000, 11_000);
    w.later(300 * MS, move |w| lose_processes(w, id, away));
    w.ambush(On::Claim, Kind::LoseProcesses, 5 * SEC, 20 * SEC);
}

/// Daemon and heart of the leader stand still while its PostgreSQL goes on; then something happens to a voter that has bid.
fn old_primary_lives(w: &mut World, id: usize, lasts: Time) {
    w.freeze_daemon(id);
    w.freeze_heart(id);
    w.undo(lasts + 12 * SEC, Scope::Process, id, move |w| {
        w.thaw_heart(id);
        w.thaw_daemon(id);
    });
    let Some(voter) = w.other_than(id) else { return };
    let wait = w.millis(2500, 5200);
    match w.rng.index(6) {
        0 | 1 => w.later(wait, move |w| kinds::apply(w, Kind::KillDaemon, voter, SEC)),
        2 => w.later(wait, move |w| kinds::apply(w, Kind::LoseData, voter, SEC)),
        3 => {
            w.nodes[voter].postgres.slow_reload = 8 * SEC;
            w.undo(12 * SEC, Scope::Process, voter, move |w| w.nodes[voter].postgres.slow_reload = 0);
            let blink = w.millis(100, 1500);
            w.later(wait, move |w| {
                // The connection breaks; the one after it still goes to the old primary.
                w.break_stream(id, voter);
                cut_stream(w, id, voter, blink);
            });
        }
        4 => w.later(wait / 4, move |w| kinds::apply(w, Kind::PauseReplay, voter, SEC)),
        _ => {}
    }
}

impl World {
    /// A claim has just been held up: an operator switches its sender off meanwhile.
    pub(crate) fn claim_held_up(&mut self, id: usize) {
        self.etcd.hold_claims_until = 0;
        self.faults.note_switch(id, Some(self.now));
        self.switch_for_sure(Some(id), false);
        self.undo(8 * SEC, Scope::Operator, id, move |w| {
            w.faults.note_switch(id, None);
            w.switch_on_for_sure(Some(id));
        });
    }

    /// A put of voters has just been held up: what must not follow from it follows now.
    pub(crate) fn voters_held_up(&mut self, id: usize, late: Time) {
        self.etcd.hold_voters = None;
        if std::mem::take(&mut self.faults.loses_followers) {
            self.return_is_held(id);
        } else if std::mem::take(&mut self.etcd.hold_any_voters) {
            let loss = self.millis(0, 900);
            self.later(loss, move |w| lose_processes(w, id, 14 * SEC));
        } else if self.rng.percent(70) {
            self.kill_daemon(id, "while a change of voters is on its way");
            kinds::apply(self, Kind::CutReplication, id, 14 * SEC);
            let loss = late + self.millis(0, 2500);
            self.later(loss, move |w| lose_processes(w, id, 15 * SEC));
        } else {
            lose_processes(self, id, 12 * SEC);
        }
    }

    pub(super) fn other_than(&mut self, id: usize) -> Option<usize> {
        let others: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != id).collect();
        self.rng.pick(&others).copied()
    }

    /// A part of a fault that comes later, unless everything has been healed by then.
    pub(super) fn later(&mut self, wait: Time, what: impl FnOnce(&mut World) + Send + 'static) {
        self.after(wait, move |w| {
            if !w.faults.healed {
                what(w);
            }
        });
    }

    pub(super) fn ambush(&mut self, on: On, kind: Kind, within: Time, lasts: Time) {
        self.ambush_by(None, on, kind, within, lasts);
    }

    pub(super) fn ambush_by(&mut self, by: Option<usize>, on: On, kind: Kind, within: Time, lasts: Time) {
        let until = self.now + lasts + 15 * SEC;
        self.faults.ambushes.push(Ambush { on, by, kind, within, lasts, until });
    }

    /// That has just happened, by this node.
    pub(crate) fn spring(&mut self, on: On, id: usize) {
        let now = self.now;
        self.faults.ambushes.retain(|ambush| ambush.until > now);
        let waits = |ambush: &Ambush| ambush.on == on && ambush.by.is_none_or(|by| by == id);
        let Some(at) = self.faults.ambushes.iter().position(waits) else { return };
        let Ambush { kind, within, lasts, .. } = self.faults.ambushes.swap_remove(at);
        let wait = self.micros(200, within / 1000);
        self.later(wait, move |w| {
            note!(w, "FAULT that lay in wait: {} on n{id}", kind.name());
            w.count_fault(kind.name());
            kinds::apply(w, kind, id, lasts);
        });
    }

    /// Answers of etcd to this node take so much longer for a while.
    fn late_answers(&mut self, id: usize, lasts: Time) {
        // A renewal's sending is given up after D/5.
        let most = self.profile.ttl / 5 / MS;
        let by =
            if self.rng.percent(60) { self.millis(most * 85 / 100, most * 97 / 100) } else { self.millis(200, most) };
        self.etcd.late_answers.insert(id, (self.now + lasts, by));
    }
}
