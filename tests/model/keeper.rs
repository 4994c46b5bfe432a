//! VotersActor: `voters::plan`, then one put or one change of names.

use super::lens::{self, NOW};
use super::look::Look;
use super::pass;
use super::sending::Sent;
use super::store;
use super::world::{Election, Stage, Writes};
use leaderl_decision::postgres_report::{PostgresOrder, PostgresState, PrimaryReport};
use leaderl_decision::replication_plan::{NamesWish, SyncNames};
use leaderl_decision::voters::{VoterStep, VotersFacts, VotersState, may_vote, plan, put_compares};
use std::time::Duration;

/// `replication.degrade_after`; a blink is shorter.
const DEGRADE_AFTER: Duration = Duration::from_secs(2);

impl Look<'_> {
    /// One tick of the keeper. `patient`: whoever does not stream has not done so for long.
    pub(crate) fn keep(mut self, patient: bool) -> super::look::Output {
        let Some(order) = self.settle() else { return self.out };
        let report = pass::report(&self);
        let (Some(keeper), PostgresState::Primary(primary)) = (self.out.machine.keeper, &report.state) else {
            return self.out;
        };
        let same_epoch = self.out.etcd.epoch == keeper.epoch && primary.epoch == lens::epoch(keeper.epoch);
        let Some(step) = same_epoch.then(|| self.next_step(keeper.own_put, primary, patient)).flatten() else {
            return self.out;
        };
        match step {
            VoterStep::SetNames { names, .. } => {
                self.out.said.push(format!("names {}", super::story::names(self.lens.mask_of(&names))));
                if self.input.sessions_outlive && self.choices.pick(2) == 1 {
                    self.out.machine.postgres.late_names = Some(self.lens.mask_of(&names));
                    self.out.said.push("daemon killed while a session of it writes".to_owned());
                    self.out.cut = true;
                    return self.out;
                }
                let wish = NamesWish { epoch: lens::epoch(keeper.epoch), names: SyncNames { names, quorum: 1 } };
                pass::run(&mut self, &order, Some(&wish));
            }
            VoterStep::Put { record, voters_revision, epoch_revision, .. } => {
                let wanted = put_compares(&self.lens.keys, voters_revision, epoch_revision);
                let compares = store::compares(self.lens, &wanted);
                let voters = self.lens.mask_of(&record.voters);
                let version = if self.input.may_be_restored { lens::small(record.version) } else { 0 };
                let said = format!("voters {}", super::story::names(voters));
                let sent = self.send(compares, Writes::Voters { voters, version }, false, said);
                if let Some(keeper) = &mut self.out.machine.keeper {
                    keeper.own_put = match sent {
                        Sent::Committed => true,
                        Sent::Refused => keeper.own_put,
                        Sent::Late => false,
                    };
                }
            }
        }
        self.out
    }

    /// The order that PostgreSQL is under, if it is to lead and the election has nothing else to do.
    fn settle(&mut self) -> Option<PostgresOrder> {
        let before = self.out.machine.election;
        let order = self.decided_order()?;
        let leads = matches!(order, PostgresOrder::Lead(_)) && self.out.machine.election == before;
        leads.then_some(order)
    }

    fn next_step(&self, own_put: bool, primary: &PrimaryReport, patient: bool) -> Option<VoterStep> {
        let view = self.lens.view(&self.out.etcd);
        let record = view.voters.as_ref()?;
        let may_vote = may_vote(&view, self.lens.id(self.input.me));
        let mut facts = VotersFacts {
            now: NOW,
            epoch: view.newest_epoch(),
            epoch_revision: view.epoch_revision(),
            record,
            primary,
            may_vote: &may_vote,
            mode: self.lens.mode,
            degrade_after: DEGRADE_AFTER,
            may_give_up: matches!(&self.out.machine.election, Election::Holding(hold) if hold.stage == Stage::AwaitingVoters),
        };
        let mut state = VotersState { own_put, ..VotersState::default() };
        let at_once = plan(&mut state, &facts);
        if !patient {
            return at_once;
        }
        facts.now = NOW.plus(DEGRADE_AFTER * 6);
        plan(&mut state, &facts)
    }
}
