//! heart's port.

use crate::world::reply::Line;
use async_trait::async_trait;
use leaderl::heart::protocol::*;
use leaderl::ports::{ArmedLease, Guardian, GuardianError};
use leaderl_decision::model::{Door, Epoch};
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

pub(crate) struct SimGuardian {
    line: Line,
    state: watch::Receiver<Option<HeartState>>,
}

impl SimGuardian {
    pub(crate) fn new(line: Line) -> Self {
        let node = line.node;
        let state = line.with(|w| w.open_heart_link(node));
        Self { line, state }
    }

    async fn order(&self, order: HeartOrder, limit: Duration) -> Result<(), GuardianError> {
        let node = self.line.node;
        let asked = self.line.ask(limit, move |w, reply| w.order_heart(node, order, reply)).await;
        asked.unwrap_or_else(|| Err(GuardianError::Silent { detail: format!("no answer within {limit:?}") }))
    }

    async fn outcome(&self, id: u64) -> Result<ToolOutcome, GuardianError> {
        let silent = |detail: &str| GuardianError::Silent { detail: detail.to_owned() };
        let mut states = self.state.clone();
        loop {
            match states.borrow_and_update().as_ref() {
                None => return Err(silent("the connection was lost while the tool ran")),
                Some(state) => match &state.tool_finished {
                    Some(outcome) if outcome.id == id => return Ok(outcome.clone()),
                    _ if state.tool_running != Some(id) => {
                        return Err(GuardianError::Refused { reason: "the tool is not known any more".to_owned() });
                    }
                    Some(_) | None => {}
                },
            }
            states.changed().await.map_err(|_| silent("the link has ended"))?;
        }
    }
}

#[async_trait]
impl Guardian for SimGuardian {
    fn state(&self) -> watch::Receiver<Option<HeartState>> {
        self.state.clone()
    }

    async fn arm(&self, lease: ArmedLease, limit: Duration) -> Result<(), GuardianError> {
        self.order(HeartOrder::Arm { lease }, limit).await
    }

    async fn renewed(&self, lease: ArmedLease, limit: Duration) -> Result<(), GuardianError> {
        self.order(HeartOrder::Renewed { lease }, limit).await
    }

    async fn disarm(&self, epoch: Epoch, limit: Duration) -> Result<(), GuardianError> {
        self.order(HeartOrder::Disarm { epoch }, limit).await
    }

    async fn start_postgres(&self, start: PostgresStart, limit: Duration) -> Result<(), GuardianError> {
        self.order(HeartOrder::StartPostgres { start }, limit).await
    }

    async fn stop_postgres(&self, stop: PostgresStop, limit: Duration) -> Result<(), GuardianError> {
        self.order(HeartOrder::StopPostgres { stop }, limit).await
    }

    async fn run_tool(&self, tool: ToolRequest, limit: Duration) -> Result<ToolOutcome, GuardianError> {
        let id = tool.id;
        let deadline = Instant::now() + limit;
        self.order(HeartOrder::RunTool { tool }, limit).await?;
        match timeout_at(deadline, self.outcome(id)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.cancel_tool(Duration::from_secs(5)).await?;
                Err(GuardianError::Refused { reason: format!("the tool did not end within {limit:?} and was killed") })
            }
        }
    }

    async fn cancel_tool(&self, limit: Duration) -> Result<(), GuardianError> {
        self.order(HeartOrder::CancelTool, limit).await
    }

    async fn assign_vips(&self, epoch: Epoch, vips: Vec<VipAddress>, limit: Duration) -> Result<(), GuardianError> {
        self.order(HeartOrder::AssignVips { epoch, vips }, limit).await
    }

    async fn kill(&self) -> Result<(), GuardianError> {
        let node = self.line.node;
        if self.state.borrow().is_none() {
            return Err(GuardianError::Silent { detail: "not attached, so its process is not known".to_owned() });
        }
        self.line.local(move |w| w.heart_dies(node, true)).await;
        Ok(())
    }

    async fn set_door(&self, epoch: Epoch, door: Door, limit: Duration) -> Result<(), GuardianError> {
        self.order(HeartOrder::SetDoor { epoch, door }, limit).await
    }

    async fn set_members(&self, members: Vec<IpAddr>, limit: Duration) -> Result<(), GuardianError> {
        self.order(HeartOrder::SetMembers { members }, limit).await
    }

    async fn release_vips(&self, limit: Duration) -> Result<(), GuardianError> {
        self.order(HeartOrder::ReleaseVips, limit).await
    }
}
