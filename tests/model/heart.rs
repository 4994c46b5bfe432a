//! What heart says, and which orders it obeys.

use super::lens::{self, NOW};
use super::look::Look;
use super::world::{Door, Election, Heart, Machine, Process, Token};
use leaderl_decision::election::{GateFacts, HeartFacts, Hold};
use leaderl_decision::model::Door as RealDoor;
use leaderl_decision::planted::{Planted, planted};
use std::time::Duration;

/// heart's state as the election sees it. Its deadline is a move of its own, so that here it is always far.
pub(crate) fn heart_facts(machine: &Machine, doorless: bool) -> HeartFacts {
    let heart = &machine.heart;
    let far = NOW.plus(Duration::from_secs(3600));
    HeartFacts {
        armed: heart.armed.map(|armed| (lens::epoch(armed.epoch), lens::nonce(armed.nonce), far)),
        fenced: (heart.fenced != 0).then(|| lens::epoch(heart.fenced)),
        postgres_gone: machine.postgres.process == Process::Gone,
        vip_held: heart.vip,
        gate: if doorless { no_gate(heart) } else { gate(heart) },
    }
}

fn gate(heart: &Heart) -> GateFacts {
    let armed = heart.armed.map(|armed| armed.epoch);
    let at = |door| heart.door.filter(|(of, is)| armed == Some(*of) && *is == door).map(|(of, _)| lens::epoch(of));
    let closed = heart.door.filter(|(_, door)| *door != Door::Open).map(|(of, _)| of).max(Some(heart.fenced));
    GateFacts {
        failure: None,
        open_for: at(Door::Open),
        closed_for: closed.filter(|epoch| *epoch != 0).map(lens::epoch),
        shut_for: at(Door::Shut),
    }
}

/// As if the door were always where the election wants it.
fn no_gate(heart: &Heart) -> GateFacts {
    let armed = heart.armed.map(|armed| lens::epoch(armed.epoch));
    GateFacts { open_for: armed, shut_for: armed, ..GateFacts::default() }
}

impl Look<'_> {
    /// Without a door clients come in with the address.
    pub(crate) fn assign_vip(&mut self, epoch: u8) {
        let machine = &mut self.out.machine;
        if machine.heart.armed.is_some_and(|armed| armed.epoch == epoch) {
            machine.heart.vip = true;
            machine.postgres.open |= self.lens.doorless && machine.postgres.process == Process::Primary;
        }
    }

    /// heart opens the gate once for an epoch, and narrows it for good. Clients that came in stay until PostgreSQL ends: the
    /// model does not count on the gate to keep their acknowledgements back.
    pub(crate) fn set_door(&mut self, epoch: u8, door: RealDoor) {
        let heart = &mut self.out.machine.heart;
        let door = match door {
            RealDoor::Open => Door::Open,
            RealDoor::Ending => Door::Ending,
            RealDoor::Shut => Door::Shut,
        };
        let shut_before = heart.door.is_some_and(|(of, was)| of >= epoch && was > door);
        if heart.armed.is_none_or(|armed| armed.epoch != epoch) || shut_before {
            return;
        }
        heart.door = Some((epoch, door));
        let postgres = &mut self.out.machine.postgres;
        postgres.open |= door == Door::Open && postgres.process == Process::Primary;
    }

    /// heart refuses what is fenced, older, or too late.
    pub(crate) fn arm(&mut self, hold: &Hold) {
        let epoch = lens::small(hold.epoch.0);
        let heart = &mut self.out.machine.heart;
        let revives = planted(Planted::LateRenewalRevives);
        let refused = (epoch <= heart.fenced && !revives) || epoch < heart.highest || hold.t0 < NOW;
        if !refused {
            heart.highest = epoch;
            heart.door = heart.door.filter(|(of, _)| *of >= epoch);
            // A hold that came from no transaction has no t0 that anybody else's clock would agree with.
            heart.unbacked = self.input.machine.election == Election::Undecided && !self.wrote;
            heart.armed = Some(Token { epoch, nonce: lens::number(&hold.nonce) });
        }
    }
}
