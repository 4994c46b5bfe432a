//! One look of VipActor: observe, plan, apply, verify, announce, publish.

use super::{CLAIM_MEMORY, HEART_LIMIT, KERNEL_LIMIT, VipState};
use crate::actors::api::journal::{JournalEntry, JournalMessage};
use crate::blackbox;
use crate::board::VipView;
use crate::heart::protocol::VipAddress;
use crate::ports::{AddressSnapshot, AddressTableError, BoundAddress};
use leaderl_decision::model::{Epoch, Reason, Timestamp};
use leaderl_decision::vip_plan::{self, Announcing, Vip, VipCommand, VipFacts, VipWish};
use std::collections::BTreeSet;

/// What the kernel shows of the configured addresses.
struct Seen {
    configured: BTreeSet<Vip>,
    bound: BTreeSet<Vip>,
    /// Names of interfaces that carry packets now.
    up: BTreeSet<String>,
}

impl Seen {
    /// Those that are where they belong, on a link that carries packets.
    fn reachable(&self) -> BTreeSet<Vip> {
        let held = |vip: &&Vip| self.bound.contains(vip) && self.up.contains(&vip.interface);
        self.configured.iter().filter(held).cloned().collect()
    }
}

impl VipState {
    pub(super) async fn reconcile(&mut self) {
        self.looked_at = self.context.clock().now();
        self.changes.mark_unchanged();
        let mut problems = self.rejected.clone();
        if self.configured.is_empty() {
            self.settled = true;
            self.heart.mark_unchanged();
            self.claims.mark_unchanged();
            self.answer_waiting();
            self.publish(&BTreeSet::new(), problems);
            return;
        }
        let mut seen = self.look(&mut problems).await;
        if let Some(seen) = &seen {
            // Noted before it is repaired: what was lost is announced anew.
            self.note_bound(&seen.bound);
            self.announcing.forget_lost(&seen.reachable());
        }
        let facts = self.facts(seen.as_ref());
        let commands = if seen.is_some() || self.wish == VipWish::Elsewhere { self.plan(&facts) } else { Vec::new() };
        for command in &commands {
            self.apply(command, &mut problems).await;
        }
        if commands.iter().any(changes_something) {
            // Believed only when the kernel shows it.
            seen = self.look(&mut problems).await;
        }
        let facts = self.facts(seen.as_ref());
        self.settled = seen.is_some() && self.interface.is_some() && self.plan(&facts).is_empty();
        if let Some(seen) = seen {
            self.judge(&seen, &mut problems);
            let contested = self.note_contests(&mut problems);
            self.announce(&seen, contested, &mut problems).await;
            self.note_bound(&seen.bound);
            if self.wish == VipWish::Elsewhere && seen.bound.is_empty() && self.released {
                self.answer_waiting();
            }
            self.publish(&seen.bound, problems);
        } else {
            let bound = self.bound.clone().unwrap_or_default();
            self.publish(&bound, problems);
        }
    }

    /// `None`: the kernel did not tell, so nothing is known.
    async fn look(&mut self, problems: &mut Vec<Reason>) -> Option<Seen> {
        let snapshot = match self.context.addresses().snapshot(KERNEL_LIMIT).await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                push(problems, problem_of(&error));
                return None;
            }
        };
        self.resolve_interface(&snapshot, problems);
        let mut configured = BTreeSet::new();
        if let Some(interface) = &self.interface {
            let vip = |(ip, prefix): &(_, u8)| Vip { ip: *ip, prefix: *prefix, interface: interface.clone() };
            configured.extend(self.configured.iter().map(vip));
        }
        let ours = |address: &&BoundAddress| self.configured.iter().any(|(ip, _)| *ip == address.ip);
        let bound = snapshot.addresses.iter().filter(ours).map(vip_of).collect();
        let up = snapshot.links.iter().filter(|link| link.up).map(|link| link.name.clone()).collect();
        Some(Seen { configured, bound, up })
    }

    /// The setting, or the interface that carries the publish address; the last known one while it carries none.
    fn resolve_interface(&mut self, snapshot: &AddressSnapshot, problems: &mut Vec<Reason>) {
        let node = &self.context.settings().node;
        let missing = match &self.context.settings().vip.interface {
            Some(name) => {
                self.interface = Some(name.clone());
                let there = snapshot.links.iter().any(|link| link.name == *name);
                (!there).then(|| format!("there is no interface `{name}` (`vip.interface`) for the VIP"))
            }
            None => {
                let carrier = |address: &&BoundAddress| Some(address.ip) == node.publish_address;
                let found = snapshot.addresses.iter().find(carrier).map(|address| address.interface.clone());
                let missing = found.is_none();
                self.interface = found.or(self.interface.take());
                missing.then(|| match node.publish_address {
                    Some(ip) => format!("no interface carries the publish address {ip}; set `vip.interface`"),
                    None => "neither `vip.interface` nor `node.publish_address` is set".to_owned(),
                })
            }
        };
        if let Some(text) = missing {
            push(problems, Reason::new("vip-no-interface", text));
        }
    }

    /// Where the VIP belongs must be known before a copy is called stale or heart is told; removing all needs no such knowledge.
    fn plan(&self, facts: &VipFacts) -> Vec<VipCommand> {
        match (self.wish, &self.interface) {
            (VipWish::Here { .. }, None) => Vec::new(),
            (wish, _) => vip_plan::plan(wish, facts),
        }
    }

    fn facts(&mut self, seen: Option<&Seen>) -> VipFacts {
        let heart = self.heart.borrow_and_update();
        let guarded = heart.iter().flat_map(|heart| &heart.vips);
        let guarded = guarded.map(|vip| Vip { ip: vip.ip, prefix: vip.prefix, interface: vip.interface.clone() });
        VipFacts {
            configured: seen.map(|seen| seen.configured.clone()).unwrap_or_default(),
            bound: seen.map(|seen| seen.bound.clone()).unwrap_or_default(),
            guarded: guarded.collect(),
            assigned: self.assigned,
            released: self.released,
            probed: self.probed,
        }
    }

    async fn apply(&mut self, command: &VipCommand, problems: &mut Vec<Reason>) {
        blackbox::command(match command {
            VipCommand::Probe(_) => "probe",
            VipCommand::Assign { .. } => "assign",
            VipCommand::Release => "release",
            VipCommand::Remove(_) => "remove",
        });
        match command {
            VipCommand::Probe(vip) => {
                self.probed = Some(self.newest);
                // A probe that cannot be sent tells nothing and delays nothing, but a missing capability must be known.
                if let Err(error) = self.context.addresses().probe(&address_of(vip), KERNEL_LIMIT).await {
                    let problem = problem_of(&error);
                    if problem.code == "missing-capability" {
                        push(problems, problem);
                    }
                }
            }
            VipCommand::Assign { epoch, vips } => {
                let vips = vips.iter().map(address_of).collect();
                match self.context.guardian().assign_vips(*epoch, vips, HEART_LIMIT).await {
                    Ok(()) => self.assigned = Some(*epoch),
                    Err(error) => push(problems, Reason::new("vip-not-assigned", error.to_string())),
                }
            }
            VipCommand::Release => match self.context.guardian().release_vips(HEART_LIMIT).await {
                Ok(()) => self.released = true,
                Err(error) => push(problems, Reason::new("vip-not-released", error.to_string())),
            },
            VipCommand::Remove(vip) => {
                let address =
                    BoundAddress { ip: vip.ip, prefix: vip.prefix, interface: vip.interface.clone(), valid_for: None };
                if let Err(error) = self.context.addresses().remove(&address, KERNEL_LIMIT).await {
                    push(problems, problem_of(&error));
                }
            }
        }
    }

    /// Says what the kernel shows against the wish.
    fn judge(&self, seen: &Seen, problems: &mut Vec<Reason>) {
        let (code, wrong, what) = match self.wish {
            VipWish::Undecided => return,
            VipWish::Here { .. } => (
                "vip-not-bound",
                seen.configured.difference(&seen.bound).collect::<Vec<_>>(),
                "is ordered and not bound",
            ),
            VipWish::Elsewhere => ("vip-still-bound", seen.bound.iter().collect(), "is still bound"),
        };
        for vip in wrong {
            push(problems, Reason::new(code, format!("the VIP {} {what} on {}", text_of(vip), vip.interface)));
        }
        for vip in seen.configured.iter().filter(|vip| seen.bound.contains(vip) && !seen.up.contains(&vip.interface)) {
            push(problems, Reason::new("vip-link-down", format!("the VIP's interface {} is down", vip.interface)));
        }
    }

    /// Another holder's packets, heard under this epoch: bound all the same (the lease is proven), but said aloud. True when
    /// one was heard since the last look.
    fn note_contests(&mut self, problems: &mut Vec<Reason>) -> bool {
        let now = self.context.clock().now();
        let claims = self.claims.borrow_and_update().clone();
        let mut heard = false;
        if matches!(self.wish, VipWish::Here { .. }) {
            for (ip, claim) in &claims {
                if claim.heard > self.claims_known.get(ip).copied().unwrap_or(0) {
                    heard = true;
                    let before = self.contested.insert(*ip, (*claim, now));
                    if before.is_none_or(|(known, _)| known.mac != claim.mac) {
                        self.record("vip-foreign-holder", format!("{} also claims the VIP {ip}", claim.mac), now);
                    }
                }
            }
        }
        self.claims_known = claims.iter().map(|(ip, claim)| (*ip, claim.heard)).collect();
        self.contested.retain(|_, (_, at)| now.since(*at) < CLAIM_MEMORY);
        for (ip, (claim, _)) in &self.contested {
            let text = format!(
                "{} also claims the VIP {ip}: the former holder is not fenced, or the address is in use",
                claim.mac
            );
            push(problems, Reason::new("vip-foreign-holder", text));
        }
        heard
    }

    async fn announce(&mut self, seen: &Seen, contested: bool, problems: &mut Vec<Reason>) {
        let now = self.context.clock().now();
        // A copy that heart does not keep under this epoch is nobody's to announce.
        let ours = matches!(self.wish, VipWish::Here { epoch } if self.assigned == Some(epoch));
        let reachable = if ours { seen.reachable() } else { BTreeSet::new() };
        let announcing: Announcing = std::mem::take(&mut self.announcing);
        let (announcing, due) = announcing.step(reachable.clone(), contested, now);
        self.announcing = announcing;
        if due {
            blackbox::command("announce");
        }
        for vip in reachable.iter().filter(|_| due) {
            if let Err(error) = self.context.addresses().announce(&address_of(vip), KERNEL_LIMIT).await {
                push(problems, problem_of(&error));
            }
        }
    }

    /// Journal entries for what appeared and what went since the last look.
    fn note_bound(&mut self, bound: &BTreeSet<Vip>) {
        let now = self.context.clock().now();
        let before = match &self.bound {
            Some(before) if before == bound => return,
            Some(before) => before.clone(),
            // The first look of this incarnation: what it finds was there before.
            None => bound.clone(),
        };
        let (came, went) = (list(bound.difference(&before)), list(before.difference(bound)));
        if !came.is_empty() {
            self.record("vip-bound", format!("the VIP {came} is bound"), now);
        }
        if !went.is_empty() {
            let (code, why) = match self.wish {
                VipWish::Here { .. } => ("vip-lost", "although this node leads"),
                VipWish::Undecided => ("vip-lost", "before this node was told anything"),
                VipWish::Elsewhere => ("vip-released", "because this node serves nobody"),
            };
            self.record(code, format!("the VIP {went} is gone, {why}"), now);
        }
        self.bound = Some(bound.clone());
        self.bound_since = now;
    }

    fn record(&self, code: &str, text: String, now: Timestamp) {
        let after = now.since(self.bound_since).as_millis();
        let epoch: Epoch = self.newest;
        let entry = JournalEntry {
            at: String::new(),
            actor: "vip".to_owned(),
            code: code.to_owned(),
            epoch,
            text,
            after_ms: u64::try_from(after).unwrap_or(u64::MAX),
        };
        if self.context.neighbours().journal.cast(JournalMessage::Record(entry)).is_err() {
            tracing::debug!(code, "the journal does not run; this entry is only logged");
        }
    }

    fn answer_waiting(&mut self) {
        for gone in self.waiting.drain(..) {
            // Whoever asked has given up waiting: then it is repeated.
            let _ = gone.send(());
        }
    }

    fn publish(&self, bound: &BTreeSet<Vip>, problems: Vec<Reason>) {
        let configured = self.configured.iter().map(|(ip, prefix)| format!("{ip}/{prefix}")).collect();
        let view = VipView { configured, bound: bound.iter().map(text_of).collect(), problems };
        self.context.board().vip.send_if_modified(|shown| {
            let changed = *shown != view;
            if changed {
                log_problems(&shown.problems, &view.problems);
                *shown = view;
            }
            changed
        });
    }
}

/// An address table's refusal as a reason for people.
pub(super) fn problem_of(error: &AddressTableError) -> Reason {
    let code = match error {
        AddressTableError::MissingCapability { .. } => "missing-capability",
        AddressTableError::NoSuchInterface { .. } => "vip-no-interface",
        AddressTableError::Silent { .. } | AddressTableError::Failed { .. } => "vip-kernel-error",
    };
    Reason::new(code, error.to_string())
}

/// Each problem is logged once, when it appears.
fn log_problems(before: &[Reason], now: &[Reason]) {
    for problem in now.iter().filter(|problem| !before.contains(problem)) {
        tracing::warn!(code = %problem.code, "{problem}");
    }
}

fn push(problems: &mut Vec<Reason>, problem: Reason) {
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}

fn changes_something(command: &VipCommand) -> bool {
    match command {
        VipCommand::Probe(_) => false,
        VipCommand::Assign { .. } | VipCommand::Release | VipCommand::Remove(_) => true,
    }
}

fn vip_of(address: &BoundAddress) -> Vip {
    Vip { ip: address.ip, prefix: address.prefix, interface: address.interface.clone() }
}

fn address_of(vip: &Vip) -> VipAddress {
    VipAddress { ip: vip.ip, prefix: vip.prefix, interface: vip.interface.clone() }
}

fn text_of(vip: &Vip) -> String {
    format!("{}/{}", vip.ip, vip.prefix)
}

fn list<'a>(vips: impl Iterator<Item = &'a Vip>) -> String {
    vips.map(|vip| format!("{} on {}", text_of(vip), vip.interface)).collect::<Vec<_>>().join(", ")
}
