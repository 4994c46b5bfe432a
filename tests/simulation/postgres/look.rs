//! What an observer sees of a server and its files.

use super::wal::Ended;
use super::{Phase, Receiver};
use crate::world::World;
use leaderl_decision::model::{Lsn, Timeline};
use leaderl_decision::replication_plan::{Control, DataSeen, FilesSeen, SenderSeen, ServerSeen, SlotSeen};

impl World {
    pub(crate) fn files_of(&self, id: usize) -> FilesSeen {
        let postgres = &self.nodes[id].postgres;
        let data = match &postgres.data {
            None => DataSeen::Missing,
            Some(data) => DataSeen::Present(Control {
                system_identifier: data.system_identifier.to_owned(),
                shut_down_as_primary: data.ended == Ended::AsPrimary,
                ended_cleanly: data.ended != Ended::Not,
                checkpoint: Lsn(data.checkpoint),
                timeline: Timeline(data.control_timeline),
            }),
        };
        FilesSeen {
            data,
            standby_signal: postgres.data.as_ref().is_some_and(|data| data.standby_signal),
            side_ready: postgres.side.as_ref().is_some_and(|side| side.ready && side.data.is_some()),
            token: postgres.data.as_ref().and_then(|data| data.token.clone()),
            promised: postgres.marks.promised,
            unsynced: postgres.marks.unsynced.clone(),
            no_start: None,
            upstream: postgres.marks.upstream.clone(),
            sync_names: postgres.marks.sync_names.clone(),
            upstream_refusal: postgres.marks.refusal,
        }
    }

    /// `None`: no session can be had.
    pub(crate) fn server_of(&self, id: usize) -> Option<ServerSeen> {
        let postgres = &self.nodes[id].postgres;
        let (server, data) = (postgres.server.as_ref()?, postgres.data.as_ref()?);
        if matches!(server.phase, Phase::Starting | Phase::Ending) {
            return None;
        }
        let in_recovery = server.phase != Phase::Primary;
        let position = if in_recovery { data.end_at(server.replayed) } else { data.end() };
        let (at_sentinel, streaming_from) = match &server.receiver {
            Receiver::None | Receiver::Connecting => (None, None),
            Receiver::AtSentinel(name) => (Some(name.clone()), None),
            Receiver::Streaming { source, .. } => (None, Some((source.address.clone(), source.port))),
        };
        let consumed = server.replayed == data.log.len();
        let senders = server.senders.iter().map(|sender| {
            let seen = SenderSeen { streaming: sender.streaming, flushed: sender.flushed, counted: sender.counted };
            (sender.guid.clone(), seen)
        });
        let slots = data.slots.iter().map(|(name, slot)| {
            (name.clone(), SlotSeen { lost: slot.lost, restart_lsn: (!slot.lost).then_some(slot.restart) })
        });
        Some(ServerSeen {
            in_recovery,
            timeline: Timeline(data.timeline),
            position: Lsn(position),
            received: Some(Lsn(data.end())),
            paused: server.paused,
            waiting_for_wal: in_recovery && consumed && server.receiver != Receiver::None,
            at_sentinel,
            streaming_from,
            slots: slots.collect(),
            senders: senders.collect(),
            promoted_at: if in_recovery { Lsn(0) } else { data.began_at(Timeline(data.timeline)) },
        })
    }
}
