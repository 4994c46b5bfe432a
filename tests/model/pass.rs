//! PgReplicationActor's pass: observe, `replication_plan::plan`, carry out, until nothing is left to do or something must be
//! awaited. What PostgreSQL does by itself is in [`super::nature`].

use super::lens::{self, Lens, NOW};
use super::log::{Kind, Record};
use super::look::{Look, Peer};
use super::nature;
use super::world::{EPOCHS, Machine, Mark, Mask, Node, Postgres, Process, Upstream, nodes};
use leaderl_decision::model::{Epoch, Lsn, NodeId, Reason, Timeline};
use leaderl_decision::planted::{Planted, planted};
use leaderl_decision::postgres_report::{PostgresOrder, PostgresReport};
use leaderl_decision::records::MemberRecord;
use leaderl_decision::replication_plan::{
    Command, Control, DataSeen, FilesSeen, Memory, NamesWish, Observed, Process as RealProcess, RemakeWork, SenderSeen,
    ServerSeen, SlotSeen, Source, SyncNames, UnsyncedMark, Upstream as RealUpstream, describe, plan, slot_name,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// More rounds than any pass takes.
const MOST_ROUNDS: usize = 12;

/// Problems that a holder resigns for.
const HOPELESS: [&str; 2] = ["promoted-before", "wrong-timeline"];

/// What the election reads of this node's PostgreSQL.
pub(crate) fn report(look: &Look<'_>) -> PostgresReport {
    let machine = &look.out.machine;
    let members = look.lens.others(look.input.me);
    let promoting = (machine.postgres.process == Process::Promoting)
        .then(|| lens::epoch(machine.postgres.token.map_or(0, |token| token.epoch)));
    let mut report = describe(&observe(look, &members), &members, promoting);
    report.problems.extend(machine.postgres.hopeless.then(|| Reason::new(HOPELESS[0], "")));
    report
}

/// Plans and carries out. `names` is what the voters' keeper asks for now.
pub(crate) fn run(look: &mut Look<'_>, order: &PostgresOrder, names: Option<&NamesWish>) {
    let promoting = look.out.machine.postgres.process == Process::Promoting;
    if promoting && matches!(order, PostgresOrder::Lead(_)) {
        return;
    }
    let members = look.lens.others(look.input.me);
    for _ in 0..MOST_ROUNDS {
        look.out.machine.postgres.stood |= answers(look.out.machine.postgres.process);
        let before = look.out.machine;
        let planned = plan(order, names, &observe(look, &members));
        look.out.machine.postgres.hopeless =
            planned.problems.iter().any(|problem| HOPELESS.contains(&problem.code.as_str()));
        for command in planned.commands {
            if !carry_out(look, &command) || look.out.machine.postgres.process == Process::Promoting {
                return;
            }
        }
        if look.out.machine == before {
            return;
        }
    }
    panic!("a pass that does not end: {order:?}, {:?}", look.out.machine);
}

fn answers(process: Process) -> bool {
    match process {
        Process::Standby | Process::Promoting | Process::Primary => true,
        Process::Gone | Process::Stopping => false,
    }
}

fn source(lens: &Lens, node: Node) -> Source {
    Source { node: lens.id(node).clone(), address: lens.id(node).0.clone(), port: 5432 }
}

fn upstream(lens: &Lens, upstream: Upstream) -> RealUpstream {
    match upstream {
        Upstream::Unset => RealUpstream::Unset,
        Upstream::Sentinel(rev) => RealUpstream::Sentinel { revision: lens::revision(rev), name: format!("r{rev}") },
        Upstream::Node(node) => RealUpstream::Node(source(lens, node)),
    }
}

fn mark(mark: Mark) -> Option<UnsyncedMark> {
    let (work, target) = match mark {
        Mark::None => return None,
        Mark::RewindBegun => (RemakeWork::RewindBegun, None),
        Mark::CopyNeeded => (RemakeWork::CopyNeeded, None),
        Mark::CatchUp(target) => (RemakeWork::CatchUp, target),
    };
    let target = target.map(|(timeline, lsn)| (lens::timeline(timeline), lens::lsn(lsn)));
    Some(UnsyncedMark { cause: String::new(), work, target })
}

fn small_mark(mark: &UnsyncedMark) -> Mark {
    match mark.work {
        RemakeWork::RewindBegun => Mark::RewindBegun,
        RemakeWork::CopyNeeded => Mark::CopyNeeded,
        RemakeWork::CatchUp => {
            Mark::CatchUp(mark.target.map(|(timeline, lsn)| (lens::small(timeline.0.into()), lens::small(lsn.0))))
        }
    }
}

/// Whose WAL this node receives now.
pub(crate) fn upstream_of(machine: &Machine, peers: &[Peer]) -> Option<Node> {
    let Upstream::Node(from) = machine.postgres.read else { return None };
    let peer = peers[usize::from(from)];
    let running = match peer.process {
        Process::Standby | Process::Promoting | Process::Primary | Process::Stopping => true,
        Process::Gone => false,
    };
    let streams = machine.postgres.process == Process::Standby && running && !machine.cut;
    (streams && peer.log.accepts(&machine.postgres.log)).then_some(from)
}

fn observe(look: &Look<'_>, members: &BTreeMap<NodeId, MemberRecord>) -> Observed {
    let lens = look.lens;
    let machine = &look.out.machine;
    let postgres = &machine.postgres;
    let epochs = (1..EPOCHS as u8).filter_map(|epoch| {
        look.out.etcd.history[usize::from(epoch)].map(|history| (lens::timeline(history.timeline), lens::epoch(epoch)))
    });
    let files = FilesSeen {
        data: if postgres.data { DataSeen::Present(control(machine)) } else { DataSeen::Missing },
        standby_signal: true,
        side_ready: false,
        token: postgres.token.map(lens::token),
        promised: lens::revision(postgres.promised),
        unsynced: mark(postgres.mark),
        no_start: None,
        upstream: upstream(lens, postgres.upstream),
        sync_names: sync_names(lens, postgres.names),
        upstream_refusal: None,
    };
    Observed {
        now: NOW,
        process: match postgres.process {
            Process::Gone => RealProcess::Gone,
            Process::Standby | Process::Promoting | Process::Primary => RealProcess::Running,
            Process::Stopping => RealProcess::Ending,
        },
        armed: machine.heart.armed.map(|armed| (lens::epoch(armed.epoch), NOW.plus(Duration::from_secs(3600)))),
        files,
        server: answers(postgres.process).then(|| server(look, members)),
        memory: memory(look, members),
        expected_system_identifier: None,
        epochs: std::iter::once((Timeline(1), Epoch(0))).chain(epochs).collect(),
    }
}

fn control(machine: &Machine) -> Control {
    let log = &machine.postgres.log;
    let ends = matches!(log.records().last().map(Record::kind), Some(Kind::Shutdown { .. }));
    let before_mark = log.lsn_of(log.len() - u8::from(ends));
    Control {
        system_identifier: String::new(),
        shut_down_as_primary: machine.postgres.clean && ends,
        ended_cleanly: machine.postgres.clean,
        checkpoint: Lsn(before_mark.into()),
        timeline: lens::timeline(log.timeline()),
    }
}

fn sync_names(lens: &Lens, names: Mask) -> SyncNames {
    SyncNames { names: lens.ids_of(names), quorum: 1 }
}

fn server(look: &Look<'_>, members: &BTreeMap<NodeId, MemberRecord>) -> ServerSeen {
    let lens = look.lens;
    let postgres = &look.out.machine.postgres;
    let from = upstream_of(&look.out.machine, &look.input.peers);
    let senders = look.input.peers.iter().zip(nodes()).filter_map(|(peer, node)| {
        let flushed = lens::lsn(peer.follows?);
        Some((lens.id(node).clone(), SenderSeen { streaming: true, flushed, counted: true }))
    });
    ServerSeen {
        in_recovery: postgres.process != Process::Primary,
        timeline: lens::timeline(postgres.log.timeline_of(postgres.replayed)),
        position: lens::lsn(postgres.log.lsn_of(postgres.replayed)),
        received: Some(lens::lsn(postgres.log.lsn())),
        paused: false,
        waiting_for_wal: postgres.replayed == postgres.log.len(),
        at_sentinel: match upstream(lens, postgres.read) {
            RealUpstream::Sentinel { name, .. } => Some(name),
            RealUpstream::Unset | RealUpstream::Node(_) => None,
        },
        streaming_from: from.map(|node| (lens.id(node).0.clone(), 5432)),
        slots: members.keys().map(|id| (slot_name(id), SlotSeen::default())).collect(),
        senders: senders.collect(),
        promoted_at: lens::lsn(postgres.promoted_at),
    }
}

fn memory(look: &Look<'_>, members: &BTreeMap<NodeId, MemberRecord>) -> Memory {
    let postgres = &look.out.machine.postgres;
    let here = postgres.token.filter(|_| postgres.looked_after).map(|token| lens::epoch(token.epoch));
    let names = sync_names(look.lens, postgres.names);
    Memory {
        predecessors_ended: here,
        written: here,
        roles_made: here,
        checkpointed: here,
        names_proven: postgres.proven_at.map(|at| (names.clone(), lens::lsn(at))),
        names_in_proof: postgres.in_proof.then_some(names),
        waiting_switched_on: true,
        access: Some(members.clone()),
        stood_at: postgres.stood.then(|| (lens::timeline(postgres.log.timeline()), lens::lsn(postgres.log.lsn()))),
        failed: None,
    }
}

/// Does one step; `false` ends the pass: it failed, it waits, or the daemon was killed at this point.
fn carry_out(look: &mut Look<'_>, command: &Command) -> bool {
    let before = look.out.machine;
    if !apply(look, command) {
        return false;
    }
    let lasting = look.out.machine != before;
    if lasting && look.input.may_be_cut && look.choices.pick(2) == 1 {
        look.out.said.push(format!("daemon killed after {}", command.name()));
        look.out.cut = true;
        return false;
    }
    true
}

fn apply(look: &mut Look<'_>, command: &Command) -> bool {
    let lens = look.lens;
    let birth = look.input.fresh_birth;
    let postgres = &mut look.out.machine.postgres;
    match command {
        Command::StartStandby => {
            postgres.process = Process::Standby;
            postgres.clean = false;
            postgres.read = postgres.upstream;
            postgres.reloading = false;
            postgres.replayed = postgres.log.len();
            postgres.stood = false;
        }
        Command::StopPostgres { fast } => stop(postgres, *fast, birth),
        // It is marked when it claims.
        Command::Promise { revision, .. } => postgres.promised = postgres.promised.max(lens::rev(*revision)),
        Command::PointAtSentinel(revision) => postgres.upstream = Upstream::Sentinel(lens::rev(*revision)),
        Command::PointAt { source, revision, catch_up } => {
            // The writer's own check (rule R4).
            let promised = !catch_up && lens::rev(*revision) <= postgres.promised;
            if promised && !planted(Planted::R4PromiseForgotten) {
                return false;
            }
            postgres.upstream = Upstream::Node(lens.node(&source.node));
        }
        Command::Reload => nature::reload(postgres, look.input.reloads_lag),
        Command::MarkUnsynced(wanted) => postgres.mark = small_mark(wanted),
        Command::ClearUnsynced => postgres.mark = Mark::None,
        Command::WriteToken(token) => postgres.token = Some(lens::small_token(token)),
        Command::WriteSyncNames(names) => {
            postgres.names = lens.mask_of(&names.names);
            postgres.proven_at = None;
            postgres.in_proof = false;
        }
        Command::ProveSyncNames { .. } if look.input.reloads_lag => postgres.in_proof = true,
        Command::ProveSyncNames { .. } => nature::prove(postgres),
        Command::PlaceHistory { up_to, .. } => postgres.placed = lens::small(up_to.0.into()),
        Command::EndPredecessors(_) => {
            if !planted(Planted::R3PredecessorsLive) {
                postgres.late_names = None;
            }
            postgres.looked_after = true;
        }
        Command::AskTarget { source, timeline } => return with_source(look, source, Some(*timeline), command),
        Command::AwaitSourceCheckpoint { source, timeline } => return with_source(look, source, *timeline, command),
        Command::Rewind(source) | Command::CopyBase(source) => return with_source(look, source, None, command),
        Command::Promote { epoch } => return promote(&mut look.out.machine, lens::small(epoch.0)),
        // Waits end with the move; slots, access and roles are always as they should be; a copy replaces the old one at once.
        Command::PrepareStart
        | Command::AwaitAnswer
        | Command::ResumeReplay
        | Command::AwaitProof
        | Command::AwaitStreaming(_)
        | Command::WriteAccess(_)
        | Command::CreateSlot(_)
        | Command::DropSlot(_)
        | Command::AdvanceSlots { .. }
        | Command::SwapIn { .. }
        | Command::TestWrite(_)
        | Command::MakeRoles(_) => {}
    }
    true
}

fn stop(postgres: &mut Postgres, fast: bool, birth: u8) {
    match (postgres.process, fast) {
        (Process::Gone, _) | (Process::Stopping, true) => {}
        (Process::Primary, true) => {
            postgres.log.push(Record::new(Kind::Shutdown { birth }));
            postgres.replayed = postgres.log.len();
            postgres.process = Process::Stopping;
        }
        (Process::Standby, true) => {
            nature::ended(postgres);
            postgres.clean = true;
        }
        (Process::Promoting, true)
        | (Process::Standby | Process::Promoting | Process::Primary | Process::Stopping, false) => {
            nature::ended(postgres);
        }
    }
}

fn promote(machine: &mut Machine, epoch: u8) -> bool {
    let armed = machine.heart.armed.is_some_and(|armed| armed.epoch == epoch);
    if !armed && !planted(Planted::PromoteUnarmed) {
        return false;
    }
    machine.postgres.process = Process::Promoting;
    true
}

/// Steps that need another node's server.
fn with_source(look: &mut Look<'_>, source: &Source, timeline: Option<Timeline>, command: &Command) -> bool {
    let peer = look.input.peers[usize::from(look.lens.node(&source.node))];
    let postgres = &mut look.out.machine.postgres;
    let there = match timeline {
        Some(timeline) => peer.process == Process::Primary && lens::timeline(peer.log.timeline()) == timeline,
        None => answers(peer.process),
    };
    if !there {
        return false;
    }
    match command {
        Command::AskTarget { .. } => postgres.mark = Mark::CatchUp(Some((peer.log.timeline(), peer.log.lsn()))),
        Command::Rewind(_) => {
            postgres.log = postgres.log.prefix(postgres.log.common(&peer.log));
            postgres.replayed = postgres.log.len();
            postgres.token = None;
        }
        Command::CopyBase(_) => {
            postgres.data = true;
            postgres.log = peer.log;
            postgres.replayed = postgres.log.len();
            postgres.token = None;
            postgres.clean = true;
            postgres.placed = 0;
        }
        other => debug_assert!(matches!(other, Command::AwaitSourceCheckpoint { .. })),
    }
    true
}
