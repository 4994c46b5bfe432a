//! EsActor: configures the search engine for this node, starts or watches it, and keeps its quorum settings right.

/// What EsActor hears.
#[derive(Debug)]
pub enum EsMessage {
    /// Observe, plan, apply.
    Reconcile,
}
