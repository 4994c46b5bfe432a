//! What the CLI and the daemon say to each other over `admin.sock`: one JSON object per line, an answer per request.

use super::control::StopMode;
use leaderl_decision::model::{Epoch, Reason};
use serde::{Deserialize, Serialize};

/// A longer line is refused, in bytes.
pub const MAX_LINE: usize = 64 * 1024;

/// The code of a refusal that may go away by itself: ask again until the deadline.
pub const STORE_SILENT: &str = "etcd-silent";

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum AdminRequest {
    /// [`super::cluster_report::ClusterReport`].
    ClusterStatus,
    /// The newest journal entries.
    Events {
        /// At most so many.
        last: usize,
    },
    /// [`super::actor_report::ActorNode`].
    ActorsTree,
    /// [`super::actor_report::ActorDetail`].
    ActorShow {
        /// Its id in the tree.
        actor: String,
    },
    /// [`super::actor_report::TraceEntry`], the oldest first.
    ActorTrace {
        /// Its id in the tree.
        actor: String,
        /// At most so many, the newest.
        last: usize,
    },
    /// Reaches into the tree; answered when it is done or on its way.
    ActorIntervene {
        /// Its id in the tree.
        actor: String,
        /// What.
        how: Intervention,
    },
    /// The settings in force.
    ShowConfig,
    /// Checks an order and writes it to etcd; [`Submitted`].
    Order {
        /// Chosen by the asker, so that asking twice orders once.
        id: String,
        /// The order.
        order: Order,
    },
    /// `leaderl_decision::records::RequestRecord`, or null.
    OrderState {
        /// As ordered.
        id: String,
    },
    /// Removes an order, whatever its state, so that it is not carried out later.
    Withdraw {
        /// As ordered.
        id: String,
    },
    /// The cluster's switch.
    SetClusterFailover {
        /// Whether leadership may change.
        enabled: bool,
    },
    /// A node's switch.
    SetNodeFailover {
        /// Name, address or identity; this node when absent.
        node: Option<String>,
        /// Whether it may take or hand over leadership.
        enabled: bool,
    },
    /// What the next SIGTERM means.
    AnnounceStop {
        /// See [`StopMode`].
        mode: StopMode,
    },
}

/// What an operator can do to an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intervention {
    /// Stop it in order and start it again.
    Restart,
    /// Kill it; its supervisor starts it again.
    Kill,
}

/// An operator's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "order")]
pub enum Order {
    /// Exactly this node shall lead.
    Promote {
        /// Name, address or identity.
        node: String,
    },
    /// Somebody else shall lead.
    Demote,
    /// The asked node shall lead although nobody does.
    ForceLeader {
        /// The loss has been named.
        accept_data_loss: bool,
        /// How many nodes the operator has seen; needed when not all are visible.
        checked: Option<usize>,
    },
}

/// An order that etcd has taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// The epoch whose leader is asked.
    pub epoch: Epoch,
    /// The identity that shall lead; `None`: any but the present leader.
    pub target: Option<String>,
    /// The leader when the order was given.
    pub from: Option<String>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum AdminAnswer {
    /// Done.
    Done {
        /// As each request says.
        value: serde_json::Value,
    },
    /// Not done.
    Refused {
        /// Why, and the next step.
        reason: Reason,
    },
}

impl From<Result<serde_json::Value, Reason>> for AdminAnswer {
    fn from(result: Result<serde_json::Value, Reason>) -> Self {
        match result {
            Ok(value) => Self::Done { value },
            Err(reason) => Self::Refused { reason },
        }
    }
}
