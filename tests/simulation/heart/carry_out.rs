//! What heart's shell does: signals, processes, addresses, messages.

use crate::world::{MS, Time, World, note};
use leaderl::heart::guard::{Effect, Event, GatePlan, Passage, QUIT_BEFORE_DEADLINE};
use leaderl::heart::protocol::StopMode;

impl World {
    /// A stop point in the middle of a refresh: decided, not yet carried out.
    pub(super) fn stops_in(&mut self, id: usize, effect: &Effect) -> bool {
        if self.nodes[id].heart.frozen {
            return true;
        }
        let refreshes_gate =
            matches!(effect, Effect::SetGate { plan, .. } if matches!(plan.client_passage, Passage::Until(_)));
        if !refreshes_gate && !matches!(effect, Effect::RefreshVips { .. }) {
            return false;
        }
        let heart = &mut self.nodes[id].heart;
        // Either may be what it is stopped in.
        let Some(pause) = heart.stop_at_refresh.take_if(|pause| (*pause / MS).is_multiple_of(2) == refreshes_gate)
        else {
            return false;
        };
        if refreshes_gate {
            self.nodes[id].heart.read = Some(self.clocks(id));
        }
        let pause = self.until_just_before_the_deadline(id, pause).unwrap_or(pause);
        self.freeze_heart(id);
        self.after(pause, move |w| w.thaw_heart(id));
        true
    }

    /// Where it is stopped again once it has gone on: how long until it would begin to fence, or up to 150 ms less.
    fn until_just_before_the_deadline(&self, id: usize, pause: Time) -> Option<Time> {
        let heart = &self.nodes[id].heart;
        heart.stop_after_refresh?;
        let fence_at = heart.guard.as_ref()?.view().armed?.fence_at;
        let quits = u64::try_from(QUIT_BEFORE_DEADLINE.as_nanos()).ok()?;
        let before = quits + (10 + pause / MS % 150) * MS;
        self.nodes[id].clock.world(fence_at).checked_sub(self.now + before)
    }

    /// One effect; what it brings is told to the guard.
    pub(super) fn heart_effect(&mut self, id: usize, effect: Effect) -> Option<Event> {
        match effect {
            Effect::CloseGate => {
                self.counts.fences += 1;
                note!(self, "n{id} heart: the deadline has come, fencing");
                let read = self.clocks(id);
                self.set_gate(id, &GatePlan::default(), None, read);
                return Some(Event::GateSet { plan: GatePlan::default(), ends: None, asked: None, failed: None });
            }
            Effect::SetGate { plan, ends, asked } => {
                let read = self.nodes[id].heart.read.take().unwrap_or_else(|| self.clocks(id));
                self.set_gate(id, &plan, ends, read);
                return Some(Event::GateSet { plan, ends, asked, failed: None });
            }
            Effect::RemoveVips(_) => self.drop_vip(id),
            Effect::RefreshVips { valid_s, asked, vips } => {
                if !vips.is_empty() {
                    self.bind_vip(id, valid_s);
                }
                return Some(Event::VipsRefreshed { asked, valid_s, failed: None });
            }
            Effect::SignalPostmaster { mode, .. } => match mode {
                StopMode::Fast => self.stop_fast(id),
                StopMode::Immediate => self.stop_immediately(id),
            },
            Effect::KillPostgres => self.kill_all_of_postgres(id),
            Effect::KillTool => self.kill_tool(id),
            Effect::KillDaemon => self.kill_daemon(id, "another daemon attaches to heart"),
            Effect::Adopt(connection) => self.nodes[id].heart.attachment.adopted = Some(connection),
            Effect::CloseConnection(connection) => {
                if self.nodes[id].heart.attachment.connection == Some(connection) {
                    self.detach(id, "heart closed the connection");
                }
            }
            Effect::StartPostmaster { asked, .. } => {
                let result = self.start_postmaster(id);
                return Some(Event::PostmasterStarted { asked, result });
            }
            Effect::StartTool { tool, asked } => {
                let result = self.start_tool(id, &tool);
                return Some(Event::ToolStarted { asked, tool: tool.id, result });
            }
            Effect::Push => self.push_state(id),
            Effect::Reply { to, refused } => self.heart_replies(id, to, refused),
            Effect::Exit => self.heart_dies(id, true),
        }
        None
    }
}
