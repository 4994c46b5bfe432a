//! Transcripts: one node's story as text, under `tests/scenarios/`. Lines are what happens; `->` lines are the state after
//! it and the commands that are new. `UPDATE_SCENARIOS=1` writes them anew, to be reviewed as a diff.

use super::*;
use crate::records::{RequestKind, RequestRecord};
use std::fmt::Write as _;

const STORIES: [&str; 6] = [
    "leader-dies",
    "planned-switchover",
    "lease-in-doubt",
    "postgres-crashes",
    "daemon-restarts",
    "cold-start-without-the-last-leader",
];

fn name(node: &NodeId) -> String {
    format!("n{}", node.0.trim_start_matches('0'))
}

fn names(nodes: &BTreeSet<NodeId>) -> String {
    nodes.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn short(command: &Command) -> Option<String> {
    Some(match command {
        Command::ReadLeader => "read-leader".into(),
        Command::CreateVacancy(_) => "create-vacancy".into(),
        Command::PutBid(bid) => format!("bid(r{}, {})", bid.revision, bid.position.lsn),
        Command::Claim(txn) => format!("claim({}, voters {})", txn.epoch.epoch, names(&txn.voters.voters)),
        Command::Adopt { holder, .. } => format!("adopt({})", holder.epoch),
        Command::Arm { hold } => format!("arm({})", hold.epoch),
        Command::OrderPostgres(PostgresOrder::Undecided) => "postgres: undecided".into(),
        Command::OrderPostgres(PostgresOrder::Detach { revision, .. }) => format!("postgres: detach(r{revision})"),
        Command::OrderPostgres(PostgresOrder::Follow(order)) => format!("postgres: follow {}", name(&order.leader)),
        Command::OrderPostgres(PostgresOrder::Lead(order)) => format!("postgres: lead({})", order.epoch),
        Command::OrderPostgres(PostgresOrder::Stop { fast: true }) => "postgres: stop fast".into(),
        Command::OrderPostgres(PostgresOrder::Stop { fast: false }) => "postgres: stop immediately".into(),
        Command::Checkpoint => "checkpoint".into(),
        Command::AssignVip { epoch } => format!("assign-vip({epoch})"),
        Command::ReleaseVip => "release-vip".into(),
        Command::SetDoor { epoch, door } => format!("gate({epoch}): {door:?}").to_lowercase(),
        Command::KeepVoters { epoch, .. } => format!("keep-voters({epoch})"),
        Command::SendVacancy { vacancy, .. } => match vacancy.final_position {
            Some(position) => format!("resign(ends at {})", position.lsn),
            None => "resign".into(),
        },
        Command::Disarm { epoch } => format!("disarm({epoch})"),
        Command::UpdateRequest { state, .. } => format!("request: {state:?}").to_lowercase(),
        Command::StopRenewing { .. } => "stop-renewing".into(),
        Command::KillHeart => "kill-heart".into(),
        Command::Renew { .. } | Command::RestVoters | Command::Record { .. } => return None,
    })
}

struct Teller {
    world: World,
    state: State,
    said: Vec<String>,
    text: String,
}

impl Teller {
    fn happens(&mut self, line: &str) {
        let event = self.change(line);
        writeln!(self.text, "{line}").unwrap();
        let before = self.state.name();
        let mut said = Vec::new();
        let mut event = event;
        for _ in 0..6 {
            let (after, commands) = step(self.state.clone(), &event, &self.world.facts());
            let changed = after != self.state;
            self.state = after;
            for line in commands.iter().filter_map(short) {
                if !said.contains(&line) {
                    said.push(line);
                }
            }
            if !changed {
                break;
            }
            event = Event::Look;
        }
        let new: Vec<_> = said.iter().filter(|line| !self.said.contains(line)).cloned().collect();
        self.said = said;
        if before != self.state.name() || !new.is_empty() {
            let commands = if new.is_empty() { String::new() } else { format!(": {}", new.join(", ")) };
            writeln!(self.text, "  -> {}{commands}", self.state.name()).unwrap();
        }
    }

    /// What a line changes in the world, and the event it is for the decision.
    fn change(&mut self, line: &str) -> Event {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |word: &str| -> u64 { word.parse().unwrap_or_else(|_| panic!("`{word}` in `{line}`")) };
        let node = |word: &str| -> u8 { number(word.trim_start_matches('n')).try_into().unwrap() };
        let world = &mut self.world;
        let nonce = || Nonce("fresh".into());
        match words.as_slice() {
            ["pass", milliseconds, "ms"] => world.pass(number(milliseconds)),
            ["read", revision] => return Event::LeaderRead(Revision(number(revision).try_into().unwrap())),
            ["detached", "at", lsn] => world.detached(position(1, number(lsn))),
            [who, "bids", lsn] => {
                world.bid_of(node(who), position(1, number(lsn)));
                return Event::EffectEnded;
            }
            ["claim", "won", revision] => {
                let revision: i64 = number(revision).try_into().unwrap();
                world.won(revision);
                return Event::ClaimWon { nonce: nonce(), revision: Revision(revision) };
            }
            ["heart", "armed"] => {
                let hold = self.state.hold().unwrap();
                let armed = (hold.epoch, hold.nonce.clone(), world.now.plus(D));
                let gate = world.heart.take().map(|heart| heart.gate).unwrap_or_default();
                world.heart = Some(HeartFacts { armed: Some(armed), gate, ..HeartFacts::default() });
            }
            ["gate", "open"] => {
                let epoch = self.state.hold().map(|hold| hold.epoch);
                world.heart.as_mut().unwrap().gate.open_for = epoch;
            }
            ["gate", "shut"] => {
                let epoch = self.state.hold().map(|hold| hold.epoch);
                world.heart.as_mut().unwrap().gate.shut_for = epoch;
            }
            ["postgres", "primary"] => {
                let (leading, _) = World::leading();
                world.postgres.state = leading.postgres.state;
                world.primary().followers.clear();
            }
            [who, "streams"] => {
                let row = FollowerReport { streaming: true, flushed: Lsn(1200), counted: true };
                world.primary().followers.insert(n(node(who)), row);
                world.posted(node(who));
            }
            ["postgres", "gone"] => {
                world.postgres.state = PostgresState::Down { initialised: true };
                world.heart.as_mut().unwrap().postgres_gone = true;
            }
            ["postgres", "ended", "at", lsn] => world.postgres.final_position = Some(position(2, number(lsn))),
            ["checkpoint", "ended"] => return Event::CheckpointEnded,
            ["vip", "gone"] => return Event::VipGone,
            ["vacancy", "sent"] => return Event::VacancySent,
            ["operator", "promotes", who] => {
                let kind = RequestKind::Promote { target: n(node(who)) };
                let (state, epoch) = (RequestState::Pending, world.view().newest_epoch());
                let now = world.now;
                let request = RequestRecord { schema: SCHEMA, kind, state, epoch, detail: String::new() };
                world.view().requests.insert("r1".into(), seen(request, 99, now));
            }
            other => panic!("nobody knows what `{}` means", other.join(" ")),
        }
        Event::Look
    }
}

impl World {
    /// etcd as the claim of epoch 2 leaves it.
    fn won(&mut self, revision: i64) {
        let (mut leading, _) = World::leading();
        let now = self.now;
        let view = self.view();
        view.epoch = leading.view().epoch.clone();
        view.history = leading.view().history.clone();
        view.voters = Some(seen(voters(&[1, 3], 2), revision, now));
        view.bids.clear();
        self.held_by(2, "fresh", revision);
    }
}

fn opening(title: &str) -> (World, State) {
    match title {
        "leader-dies" => (World::following(), State::Observing(Observing::default())),
        "cold-start-without-the-last-leader" => {
            let mut world = World::following();
            world.postgres.state = PostgresState::Standby { streaming_from: None };
            (world, State::Undecided)
        }
        "daemon-restarts" => {
            let (mut world, _) = World::leading();
            world.nonce = Nonce("fresh".into());
            (world, State::Undecided)
        }
        _ => {
            let (world, hold) = World::leading();
            (world, State::Holding(Hold { stage: Stage::Serving, ..hold }))
        }
    }
}

#[test]
fn every_story_is_told_as_written() {
    for title in STORIES {
        let path = format!("{}/../../tests/scenarios/{title}.txt", env!("CARGO_MANIFEST_DIR"));
        let written = std::fs::read_to_string(&path).unwrap();
        let (world, state) = opening(title);
        let mut teller = Teller { world, state, said: Vec::new(), text: String::new() };
        for line in written.lines() {
            if line.starts_with('#') {
                writeln!(teller.text, "{line}").unwrap();
            } else if !line.starts_with(' ') && !line.is_empty() {
                teller.happens(line);
            }
        }
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            std::fs::write(&path, &teller.text).unwrap();
        } else {
            assert_eq!(teller.text, written, "{title}: review, then UPDATE_SCENARIOS=1");
        }
    }
}
