//! Carrying out what the guard decides about the port gate.

use super::super::gate::{Gate, GateError};
use super::super::guard::{Asker, Event, GatePlan, Passage, Sessions};
use super::super::log::Log;
use super::Shell;
use super::effects::chain;
use crate::settings::{PortGate, Settings};
use crate::stop_points::{StopPoint, reach};
use std::net::IpAddr;

/// The gate, and what it takes to open its sockets again.
pub(super) struct Gatekeeper {
    port: u16,
    own: Option<IpAddr>,
    gate: Option<Gate>,
    /// As last told by the guard: closing needs no other table.
    members: Vec<IpAddr>,
    failure: Option<String>,
}

impl Gatekeeper {
    /// Shuts the gate before anything else happens; `Some` as well: why there is none.
    pub(super) fn start(settings: &Settings, log: &mut Log) -> (Self, Option<String>) {
        let (port, own) = (settings.postgres.port, settings.node.publish_address);
        let mut keeper = Self { port, own, gate: None, members: Vec::new(), failure: None };
        let wanted = settings.fencing.port_gate;
        if wanted == PortGate::Off {
            keeper.take_away(log);
            return (keeper, Some("switched off by `fencing.port_gate`".to_owned()));
        }
        match keeper.gate() {
            Ok(_) => (keeper, None),
            Err(error) if wanted == PortGate::Auto && error.is_final() => {
                let why = chain(&error);
                log.warn(&format!(
                    "no port gate: {why}; clients of a frozen leader are held off by VIP and quorum commit alone"
                ));
                (keeper, Some(why))
            }
            Err(error) => {
                // The guard orders it again and says that it is missing.
                log.warn(&format!("no port gate yet: {}", chain(&error)));
                (keeper, None)
            }
        }
    }

    fn take_away(&self, log: &mut Log) {
        // Best effort: a node that never had the rights to make the table has none to remove.
        if let Ok(mut gate) = Gate::open(self.port, self.own)
            && let Err(error) = gate.remove()
            && !error.is_final()
        {
            log.warn(&format!("an earlier port gate may be in place: {}", chain(&error)));
        }
    }

    fn gate(&mut self) -> Result<&mut Gate, GateError> {
        let gate = match self.gate.take() {
            Some(gate) => gate,
            None => {
                let mut gate = Gate::open(self.port, self.own)?;
                gate.shut_first()?;
                gate
            }
        };
        Ok(self.gate.insert(gate))
    }

    /// How many sessions were ended.
    fn set(&mut self, plan: &GatePlan, ends: Option<Sessions>) -> Result<usize, GateError> {
        let gate = self.gate()?;
        let mut ended = 0;
        if let Some(whose) = ends {
            gate.assert(&shut_to(whose, plan))?;
            ended = gate.end_sessions(whose, &plan.members)?;
        }
        gate.assert(plan)?;
        Ok(ended)
    }
}

/// The plan, shut to those whose sessions are to be ended.
fn shut_to(whose: Sessions, plan: &GatePlan) -> GatePlan {
    let shut = GatePlan { members: plan.members.clone(), ..GatePlan::default() };
    match whose {
        Sessions::Everybodys => shut,
        Sessions::Clients => GatePlan { member_passage: plan.member_passage, ..shut },
    }
}

impl Shell {
    pub(super) fn close_gate(&mut self) -> Option<Event> {
        self.log.warn("the deadline has come: fencing");
        if self.no_gate {
            return None;
        }
        let plan = GatePlan { members: self.gate.members.clone(), ..GatePlan::default() };
        self.set_gate(plan, None, None)
    }

    pub(super) fn set_gate(&mut self, plan: GatePlan, ends: Option<Sessions>, asked: Option<Asker>) -> Option<Event> {
        self.gate.members.clone_from(&plan.members);
        let outcome = self.gate.set(&plan, ends);
        if matches!(plan.member_passage, Passage::Until(_)) {
            reach(StopPoint::GateRefreshed);
        }
        let failed = match outcome {
            Ok(0) => None,
            Ok(ended) => {
                self.log.info(&format!("ended {ended} older sessions before the port gate opens"));
                None
            }
            Err(error) => Some(chain(&error)),
        };
        if failed != self.gate.failure {
            if let Some(failure) = &failed {
                self.log.warn(&format!("port gate: {failure}"));
            }
            self.gate.failure.clone_from(&failed);
        }
        Some(Event::GateSet { plan, ends, asked, failed })
    }
}
