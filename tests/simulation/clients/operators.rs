//! Operators: the same requests as the CLI sends, to some node's daemon, at bad moments.

use crate::world::{World, note};
use leaderl::actors::api::admin_protocol::{AdminRequest, Order};

impl World {
    /// Gives an order to this node's daemon; its answer is the daemon's own code.
    pub(crate) fn order(&mut self, node: usize, request: &AdminRequest) {
        note!(self, "operator on n{node}: {request:?}");
        self.counts.orders += 1;
        if let Ok(line) = serde_json::to_vec(request) {
            self.clients.orders.push((node, line));
        }
    }

    pub(crate) fn order_promote(&mut self, at: usize, target: usize) {
        let order = Order::Promote { node: self.nodes[target].name.clone() };
        self.order_by_id(at, order);
    }

    pub(crate) fn order_demote(&mut self, at: usize) {
        self.order_by_id(at, Order::Demote);
    }

    fn order_by_id(&mut self, at: usize, order: Order) {
        self.clients.orders_given += 1;
        let id = format!("order-{}", self.clients.orders_given);
        self.order(at, &AdminRequest::Order { id, order });
    }

    pub(crate) fn switch_cluster(&mut self, at: usize, enabled: bool) {
        self.order(at, &AdminRequest::SetClusterFailover { enabled });
    }

    pub(crate) fn switch_node(&mut self, at: usize, node: usize, enabled: bool) {
        let node = Some(self.nodes[node].name.clone());
        self.order(at, &AdminRequest::SetNodeFailover { node, enabled });
    }
}
