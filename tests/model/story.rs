//! A path as people read it: what happens, and below it what has become of whom, in the manner of `tests/scenarios`.

use super::log::{Kind, Log};
use super::look::Age;
use super::moves::{Move, Step};
use super::world::{
    Election, Etcd, Heart, Machine, Mark, Mask, Node, Phase, Process, Seat, Stage, Upstream, World, has, nodes,
};
use std::fmt::Write as _;

/// `n1`.
pub(crate) fn name(node: Node) -> String {
    format!("n{}", node + 1)
}

/// `{n2 n3}`.
pub(crate) fn names(mask: Mask) -> String {
    let list: Vec<String> = nodes().filter(|node| has(mask, *node)).map(name).collect();
    format!("{{{}}}", list.join(" "))
}

/// `commit 0`.
pub(crate) fn commits(mask: Mask) -> String {
    let list: Vec<String> = (0..8).filter(|number| has(mask, *number)).map(|number| number.to_string()).collect();
    format!("commit {}", list.join(", "))
}

/// The whole path.
pub(crate) fn tell(first: &World, steps: &[Step]) -> String {
    let mut text = String::new();
    let mut before = *first;
    let _ = writeln!(text, "  at first: {}", standing(first));
    for step in steps {
        let _ = writeln!(text, "{}", happens(step));
        for line in changes(&before, &step.world) {
            let _ = writeln!(text, "  -> {line}");
        }
        if let Some(broken) = &step.broken {
            let _ = writeln!(text, "BROKEN: {broken}");
        }
        before = step.world;
    }
    text
}

fn happens(step: &Step) -> String {
    let what = match step.what {
        Move::Look { node, age: Age::Fresh } => format!("{} looks", name(node)),
        Move::Look { node, age: Age::Bidding } => format!("{} looks, its clock past 2D/3", name(node)),
        Move::Look { node, age: Age::Open } => format!("{} looks, its clock past D", name(node)),
        Move::Keep { node, patient } => {
            format!("{} keeps the voters{}", name(node), if patient { ", having waited" } else { "" })
        }
        Move::Renew(node) => format!("{} renews", name(node)),
        Move::InDoubt(node) => format!("{}'s renewals are unconfirmed for D/2", name(node)),
        Move::Fenced(node) => format!("{}'s heart fences", name(node)),
        Move::Reloads(node) => format!("{}'s PostgreSQL reads its configuration", name(node)),
        Move::Receives(node) => format!("{} receives a record", name(node)),
        Move::Replays(node) => format!("{} replays a record", name(node)),
        Move::Promoted(node) => format!("{}'s promotion ends", name(node)),
        Move::NamesProven(node) => format!("{}'s names are in force everywhere", name(node)),
        Move::Stopped(node) => format!("{}'s PostgreSQL has stopped", name(node)),
        Move::LateNames(node) => format!("a session of {}'s former daemon writes names", name(node)),
        Move::Publishes(node) => format!("{} posts its position", name(node)),
        Move::Commits(node) => format!("a client commits on {}", name(node)),
        Move::Acknowledged { node, commit } => format!("{} acknowledges commit {commit}", name(node)),
        Move::PowerLost(node) => format!("{} loses power", name(node)),
        Move::PowerBack(node) => format!("{} is back", name(node)),
        Move::DiskLost(node) => format!("{}'s disk is emptied", name(node)),
        Move::OldCopyPutBack(node) => format!("somebody puts an older copy into {}'s data directory", name(node)),
        Move::DaemonKilled(node) => format!("{}'s daemon is killed", name(node)),
        Move::DaemonStarts(node) => format!("{}'s daemon starts", name(node)),
        Move::PostmasterKilled(node) => format!("{}'s postmaster is killed", name(node)),
        Move::Cut(node) => format!("{} is cut from its upstream", name(node)),
        Move::Healed(node) => format!("{} reaches its upstream again", name(node)),
        Move::LateCommit(node) => format!("a late transaction of {} commits", name(node)),
        Move::HearsOfRenewal(node) => format!("a late renewal of {} commits, and it hears of it", name(node)),
        Move::ToldToStop(node) => format!("{} is told to hand over", name(node)),
        Move::KeyDeleted => "somebody deletes the leader key".to_owned(),
        Move::BackedUp => "etcd is backed up".to_owned(),
        Move::Restored => "etcd is restored from the backup".to_owned(),
    };
    let mut said = step.said.to_vec();
    said.dedup();
    if said.is_empty() { what } else { format!("{what}: {}", said.join(", ")) }
}

fn standing(world: &World) -> String {
    let machines: Vec<String> = nodes().map(|node| format!("{} {}", name(node), server(world.machine(node)))).collect();
    format!("{}; {}", store(&world.etcd), machines.join("; "))
}

fn changes(before: &World, after: &World) -> Vec<String> {
    let mut lines = Vec::new();
    let (old, new) = (store(&before.etcd), store(&after.etcd));
    if old != new {
        lines.push(format!("etcd: {new}"));
    }
    for node in nodes() {
        let (was, is) = (before.machine(node), after.machine(node));
        for part in [daemon, heart, server, names_of] {
            let (old, new) = (part(was), part(is));
            if old != new {
                lines.push(format!("{}: {new}", name(node)));
            }
        }
    }
    lines
}

fn store(etcd: &Etcd) -> String {
    let seat = match etcd.leader {
        Seat::Absent => "no leader key".to_owned(),
        Seat::Holder { node, epoch, .. } => format!("{} holds epoch {epoch}", name(node)),
        Seat::Vacancy { left_by: Some(node), end, .. } => {
            format!("{} left{}", name(node), end.map_or(String::new(), |end| format!(" at {}", end.lsn)))
        }
        Seat::Vacancy { left_by: None, .. } => "vacancy, holder unknown".to_owned(),
    };
    let bids = nodes().filter_map(|node| {
        let bid = etcd.bids[usize::from(node)]?;
        let void = if bid.for_rev == etcd.leader_rev { "" } else { " (void)" };
        Some(format!("{}@{}.{}{void}", name(node), bid.at.epoch, bid.at.lsn))
    });
    let bids: Vec<String> = bids.collect();
    let bids = if bids.is_empty() { String::new() } else { format!(", bids {}", bids.join(" ")) };
    format!("{seat} (r{}), voters {}{bids}", etcd.leader_rev, names(etcd.voters))
}

fn daemon(machine: &Machine) -> String {
    if !machine.powered {
        return "off".to_owned();
    }
    let old = |old: bool| if old { ", lease in doubt" } else { "" };
    match machine.election {
        Election::Off => "no daemon".to_owned(),
        Election::Undecided => "undecided".to_owned(),
        Election::Observing => "observing".to_owned(),
        Election::Claiming { hold, .. } => format!("claiming epoch {}", hold.epoch),
        Election::Holding(hold) => {
            let stage = match hold.stage {
                Stage::Promoting => "promoting",
                Stage::AwaitingVoters => "awaiting voters",
                Stage::Serving => "leading",
            };
            format!("{stage} epoch {}{}", hold.epoch, old(hold.old))
        }
        Election::SteppingDown(down) => {
            let phase = match down.phase {
                Phase::Checkpointing => "checkpointing",
                Phase::Stopping => "stopping",
                Phase::Releasing => "releasing",
                Phase::Vacating => "vacating",
            };
            format!("stepping down from epoch {}, {phase}", down.hold.epoch)
        }
    }
}

fn heart(machine: &Machine) -> String {
    let Heart { armed, fenced, vip, .. } = machine.heart;
    let armed = armed.map_or("heart not armed".to_owned(), |armed| format!("heart armed for {}", armed.epoch));
    let fenced = if fenced == 0 { String::new() } else { format!(", fenced {fenced}") };
    format!("{armed}{fenced}{}", if vip { ", VIP" } else { "" })
}

fn server(machine: &Machine) -> String {
    let postgres = &machine.postgres;
    let process = match postgres.process {
        Process::Gone if !postgres.data => "no data",
        Process::Gone => "down",
        Process::Standby => "standby",
        Process::Promoting => "being promoted",
        Process::Primary => "primary",
        Process::Stopping => "stopping",
    };
    let upstream = |upstream: Upstream| match upstream {
        Upstream::Unset => "nowhere".to_owned(),
        Upstream::Sentinel(rev) => format!("detached(r{rev})"),
        Upstream::Node(node) => name(node),
    };
    let streams = match postgres.process {
        Process::Standby if postgres.read == postgres.upstream => format!(" from {}", upstream(postgres.read)),
        Process::Standby => format!(" from {}, to be {}", upstream(postgres.read), upstream(postgres.upstream)),
        Process::Gone | Process::Promoting | Process::Primary | Process::Stopping => String::new(),
    };
    let mark = match postgres.mark {
        Mark::None => "",
        Mark::RewindBegun => ", rewind begun",
        Mark::CopyNeeded => ", copy needed",
        Mark::CatchUp(_) => ", catching up",
    };
    let cut = if machine.cut { ", cut" } else { "" };
    format!("{process}{streams} [{}] promised r{}{mark}{cut}", log(&postgres.log), postgres.promised)
}

fn names_of(machine: &Machine) -> String {
    let postgres = &machine.postgres;
    let in_force: Vec<String> =
        (0..8_u8).filter(|mask| postgres.names_in_force & (1 << mask) != 0).map(names).collect();
    let proven = if postgres.proven_at.is_some() { ", proven" } else { "" };
    format!("names {} on disk, {} in force{proven}", names(postgres.names), in_force.join(" or "))
}

fn log(log: &Log) -> String {
    let words: Vec<String> = log
        .records()
        .map(|record| match record.kind() {
            Kind::Commit(number) => format!("c{number}"),
            Kind::Switch { timeline, .. } => format!("T{timeline}"),
            Kind::Shutdown { .. } => "stop".to_owned(),
        })
        .collect();
    words.join(" ")
}
