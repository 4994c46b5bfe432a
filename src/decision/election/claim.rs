//! Claiming: the one transaction that takes the seat, and what it must compare and write (rules R1, R9).

use super::bid::proven_position;
use super::completeness::order_of;
use super::orders::highest_timeline_before;
use super::requests::Forced;
use super::{Claiming, Command, Completeness, Event, Facts, Hold, Observing, Stage, State, last_leader, record};
use crate::cluster::ClusterView;
use crate::model::{Epoch, NodeId, Nonce, Position, ReplicationMode, Revision, Timeline};
use crate::planted::{Planted, planted};
use crate::records::{EpochRecord, HistoryRecord, Holder, Keys, LeaderValue, RequestState, SCHEMA, VotersRecord};
use std::time::Duration;

/// A claim whose outcome nobody could tell for so long is given up: the seat's own timer goes on.
const CLAIM_LIMIT: Duration = Duration::from_secs(5);

/// The acquiring transaction: all compares hold, or nothing is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimTxn {
    /// `leader` still has this mod_revision.
    pub leader_revision: Revision,
    /// `voters` too (0: absent).
    pub voters_revision: Revision,
    /// `epoch` too (0: absent).
    pub epoch_revision: Revision,
    /// `control/failover` (0: absent).
    pub cluster_failover_revision: Revision,
    /// `control/nodes/<me>` (0: absent).
    pub node_failover_revision: Revision,
    /// Every bid that the decision rests on.
    pub bids: Vec<(NodeId, Revision)>,
    /// The new value of `leader`.
    pub holder: Holder,
    /// The new value of `epoch`.
    pub epoch: EpochRecord,
    /// `history/<epoch>`.
    pub history: HistoryRecord,
    /// The new voter record.
    pub voters: VotersRecord,
}

impl ClaimTxn {
    /// Every key that must still have this mod_revision (0: absent).
    pub fn compares(&self, keys: &Keys) -> Vec<(String, Revision)> {
        let mut compares = vec![(keys.leader(), self.leader_revision), (keys.epoch(), self.epoch_revision)];
        if !planted(Planted::ClaimIgnoresVoters) {
            compares.push((keys.voters(), self.voters_revision));
        }
        if !planted(Planted::ClaimIgnoresSwitches) {
            compares.push((keys.cluster_failover(), self.cluster_failover_revision));
            compares.push((keys.node_failover(&self.holder.guid), self.node_failover_revision));
        }
        if !planted(Planted::ClaimIgnoresBids) {
            compares.extend(self.bids.iter().map(|(bidder, revision)| (keys.bid(bidder), *revision)));
        }
        compares
    }

    /// `history/<epoch>` as this transaction puts it.
    pub fn recorded_history(&self) -> Option<&HistoryRecord> {
        (!planted(Planted::PromoteBeforeHistory)).then_some(&self.history)
    }
}

/// Rule R1: V' = (V + last leader) - new leader, q = 1; the last leader again keeps V and q.
///
/// A last leader that is no member any more cannot be asked for its commits: then only the new leader is known to be
/// complete, which is what an empty V says.
pub(super) fn voters_after(
    view: &ClusterView,
    me: &NodeId,
    epoch: Epoch,
    mode: ReplicationMode,
    proven: bool,
) -> VotersRecord {
    let old = view.voters.as_ref().map(|seen| seen.record.clone()).unwrap_or_default();
    let version = old.version + 1;
    let empty = VotersRecord { schema: SCHEMA, voters: Default::default(), quorum: 1, epoch, mode, version };
    if mode == ReplicationMode::Async || !proven {
        return empty;
    }
    let Some(last) = last_leader(view) else { return empty };
    if last == *me {
        let mut kept = old.voters;
        kept.remove(me);
        return VotersRecord { voters: kept, quorum: old.quorum.max(1), ..empty };
    }
    if !view.members.contains_key(&last) {
        return empty;
    }
    let mut voters = old.voters;
    if !planted(Planted::R1LastLeaderNoVoter) {
        voters.insert(last);
    }
    voters.remove(me);
    VotersRecord { voters, quorum: 1, ..empty }
}

/// Sends the acquiring transaction.
pub(super) fn begin(
    view: &ClusterView,
    facts: &Facts<'_>,
    revision: Revision,
    judged: &Completeness,
    mut commands: Vec<Command>,
    forced: Option<Forced>,
) -> (State, Vec<Command>) {
    let Some((_, position)) = proven_position(facts, revision) else {
        return (State::Observing(Observing::default()), commands);
    };
    let epoch = view.newest_epoch().next();
    let nonce = facts.fresh_nonce.clone();
    let used = match judged {
        Completeness::Complete { used, .. } => used.clone(),
        Completeness::Missing { .. } => {
            super::completeness::valid_bids(view, revision).map(|(node, bid)| (node.clone(), bid.revision)).collect()
        }
    };
    let proven = matches!(judged, Completeness::Complete { sure, .. } if position >= *sure);
    let txn = ClaimTxn {
        leader_revision: revision,
        voters_revision: view.voters.as_ref().map(|seen| seen.revision).unwrap_or_default(),
        epoch_revision: view.epoch_revision(),
        cluster_failover_revision: view.cluster_failover.as_ref().map(|seen| seen.revision).unwrap_or_default(),
        node_failover_revision: view.node_failover.get(facts.me).map(|seen| seen.revision).unwrap_or_default(),
        bids: used,
        holder: Holder {
            schema: SCHEMA,
            guid: facts.me.clone(),
            boot_id: facts.boot_id.to_owned(),
            nonce: nonce.clone(),
            epoch,
            seq: 1,
        },
        epoch: EpochRecord {
            schema: SCHEMA,
            epoch,
            guid: facts.me.clone(),
            nonce: nonce.clone(),
            taken_with: facts.postgres.token.clone().filter(|_| proven),
        },
        history: history(view, facts, epoch, position),
        voters: voters_after(view, facts.me, epoch, facts.mode, proven),
    };
    if let Some(forced) = forced {
        commands.push(Command::UpdateRequest {
            id: forced.id,
            state: RequestState::Working,
            detail: format!("{} takes epoch {epoch}", view.name_of(facts.me)),
        });
    }
    commands.push(record("claiming", epoch, claim_story(view, position, judged)));
    commands.extend(possible_loss(view, facts, position, proven).map(|text| record("possible-loss", epoch, text)));
    commands.push(Command::Claim(Box::new(txn)));
    let hold = hold(facts, epoch, nonce.clone(), nonce, 1, revision);
    (State::Claiming(Claiming { hold, adopts: false, since: facts.now }), commands)
}

pub(super) fn hold(
    facts: &Facts<'_>,
    epoch: Epoch,
    nonce: Nonce,
    acquired_with: Nonce,
    seq: u64,
    revision: Revision,
) -> Hold {
    Hold { epoch, nonce, acquired_with, seq, t0: facts.now, revision, since: facts.now, stage: Stage::Promoting }
}

fn history(view: &ClusterView, facts: &Facts<'_>, epoch: Epoch, position: Position) -> HistoryRecord {
    let recorded = if planted(Planted::R9TimelineTwice) { Timeline(1) } else { highest_timeline_before(view, epoch) };
    let highest = recorded.max(position.timeline);
    HistoryRecord {
        schema: SCHEMA,
        epoch,
        timeline: Timeline(highest.0 + 1),
        parent_timeline: position.timeline,
        fork_lsn: position.lsn,
        node: facts.me.clone(),
    }
}

/// A takeover that no proof covers (`async`, or forced) says what may be missing: what the last leader had published beyond
/// this copy, and whatever it acknowledged after that.
fn possible_loss(view: &ClusterView, facts: &Facts<'_>, position: Position, proven: bool) -> Option<String> {
    if proven {
        return None;
    }
    let last = last_leader(view).filter(|last| last != facts.me)?;
    let name = view.name_of(&last);
    let published = view.nodes.get(&last).and_then(|seen| Some((seen.record.position?, seen.at)));
    Some(match published {
        Some((theirs, at)) => format!(
            "acknowledged commits may be lost: {name} last published {} and this copy ends at {} ({} bytes less), and what \
             {name} acknowledged in the {} ms before it fell silent is not counted",
            theirs.lsn,
            position.lsn,
            theirs.lsn.ahead_of(position.lsn).0,
            view.leader.as_ref().map_or(0, |leader| leader.at.since(at).as_millis()),
        ),
        None => format!("acknowledged commits may be lost: {name} has published no position to compare with"),
    })
}

fn claim_story(view: &ClusterView, position: Position, judged: &Completeness) -> String {
    let seat = match view.leader.as_ref().map(|leader| &leader.record) {
        Some(LeaderValue::Vacancy(vacancy)) => format!("the seat is empty ({})", vacancy.cause),
        Some(LeaderValue::Holder(holder)) => format!("{} has stopped renewing", view.name_of(&holder.guid)),
        None => "the seat is empty".to_owned(),
    };
    let proof = match judged {
        Completeness::Complete { used, best, .. } => {
            let proof = format!("{} bid(s) prove that nothing acknowledged is elsewhere", used.len());
            if order_of(position) < order_of(*best) {
                format!("{proof}, what was written up to {} on timeline {} is given up", best.lsn, best.timeline)
            } else {
                proof
            }
        }
        Completeness::Missing { needed, .. } => format!("{needed} bid(s) short of a proof"),
    };
    format!("{seat}; {proof}; this copy ends at {} on timeline {}", position.lsn, position.timeline)
}

pub(super) fn step(claiming: Claiming, event: &Event, facts: &Facts<'_>) -> (State, Vec<Command>) {
    match event {
        Event::ClaimWon { nonce, revision } if *nonce == claiming.hold.nonce => won(claiming, *revision, facts),
        Event::ClaimLost { nonce } if *nonce == claiming.hold.nonce => (lost(&claiming), Vec::new()),
        Event::Look
        | Event::ClaimWon { .. }
        | Event::ClaimLost { .. }
        | Event::LeaderRead(_)
        | Event::EffectEnded
        | Event::Renewed { .. }
        | Event::HoldLost { .. }
        | Event::HeartSilent
        | Event::CheckpointEnded
        | Event::VipGone
        | Event::VacancySent
        | Event::StopForGood => {
            // An adoption may hang for as long as etcd does; heart's deadline does not wait for it.
            let commands = facts.end_what_heart_does_not().into_iter().collect();
            if facts.now.since(claiming.since) > CLAIM_LIMIT {
                return (lost(&claiming), commands);
            }
            (State::Claiming(claiming), commands)
        }
    }
}

/// A lost adoption says only that the key has moved: a renewal of the incarnation before may have come between. So it is
/// looked at anew; to observe would release what this node may still hold.
fn lost(claiming: &Claiming) -> State {
    if claiming.adopts { State::Undecided } else { State::Observing(Observing::default()) }
}

fn won(claiming: Claiming, revision: Revision, facts: &Facts<'_>) -> (State, Vec<Command>) {
    let hold = Hold { revision, since: facts.now, ..claiming.hold };
    let (code, text) = if claiming.adopts {
        ("adopted", "a restarted daemon has renewed its own hold and goes on with it".to_owned())
    } else {
        ("won", format!("the leader key is held under epoch {}", hold.epoch))
    };
    let mut commands = vec![
        Command::Arm { hold: hold.clone() },
        Command::Renew { hold: hold.clone() },
        record(code, hold.epoch, text),
    ];
    if planted(Planted::PromoteUnarmed) {
        commands.retain(|command| !matches!(command, Command::Arm { .. }));
    }
    (State::Holding(hold), commands)
}
