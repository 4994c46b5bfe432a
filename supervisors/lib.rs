//! Erlang/OTP's supervisor for Rust, on [ractor](https://docs.rs/ractor), faithful event for event.
//!
//! # Supervision in one page
//!
//! An actor that meets what it does not understand should end at once, with a reason: nobody knows what its state is
//! worth now. A *supervisor* then decides what that means for the others. It starts its children in order, and when one
//! ends it restarts it (its [`Restart`] type says whether), together with those that depend on it (the [`Strategy`]):
//!
//! | strategy | a child that ends takes along | for |
//! |---|---|---|
//! | [`OneForOne`](Strategy::OneForOne) | nobody | independent children |
//! | [`RestForOne`](Strategy::RestForOne) | those started after it | a chain: each needs the earlier ones |
//! | [`OneForAll`](Strategy::OneForAll) | everybody | children that only work together |
//!
//! If restarts do not help, more of them will not: beyond its [`RestartIntensity`] a supervisor stops its children, the
//! last one first, and ends with the reason `shutdown`. Its own supervisor sees that as the exit of a child, so trouble
//! climbs the tree to a level that is large enough to cure it, and at the root the program decides.
//!
//! Order is meaning. Children start in the order of the spec and stop in reverse, one after the other, each within its
//! [`Shutdown`] time and with its `post_stop`; a subtree is gone, with all it owned, before its successor starts.
//!
//! ```
//! use std::time::Duration;
//! use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
//! use supervisors::{ChildRef, ChildSpec, ExitReason, Strategy, SupervisorSpec, restarts, start_root};
//!
//! struct Store;
//! enum StoreMessage { Put(String), GetLen(RpcReplyPort<usize>) }
//!
//! impl Actor for Store {
//!     type Msg = StoreMessage;
//!     type State = Vec<String>;
//!     type Arguments = ();
//!     async fn pre_start(&self, _: ActorRef<StoreMessage>, _: ()) -> Result<Vec<String>, ActorProcessingErr> {
//!         Ok(Vec::new())
//!     }
//!     async fn handle(&self, _: ActorRef<StoreMessage>, message: StoreMessage, rows: &mut Vec<String>)
//!         -> Result<(), ActorProcessingErr> {
//!         match message {
//!             StoreMessage::Put(row) if row.is_empty() => return Err("an empty row".into()),
//!             StoreMessage::Put(row) => rows.push(row),
//!             StoreMessage::GetLen(reply) => reply.send(rows.len())?,
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let second = Duration::from_secs(1);
//! let store = ChildRef::new("store"); // always the current incarnation
//! let spec = SupervisorSpec::new(Strategy::RestForOne)
//!     .intensity(restarts(3).within(10 * second))
//!     .child(ChildSpec::worker("store", store.starts(|| (Store, ()))));
//! let root = start_root(spec).await?;
//!
//! store.cast(StoreMessage::Put("first".into()))?;
//! assert_eq!(store.call(StoreMessage::GetLen, second).await?, 1);
//!
//! store.cast(StoreMessage::Put(String::new()))?; // ends it: it comes back, empty
//! store.wait_incarnation(2, second).await?;
//! assert_eq!(store.call(StoreMessage::GetLen, second).await?, 0);
//!
//! root.stop(ExitReason::Shutdown).await;
//! # Ok(())
//! # }
//! ```
//!
//! # What to know
//!
//! - A child's start is its actor's `pre_start`, inside the supervisor's turn: keep it short, and connect to others in a
//!   message to yourself.
//! - Reach others through a [`ChildRef`]; an `ActorRef` dies with a restart. Nothing is registered under a name, so any
//!   number of trees live in one process without seeing each other.
//! - End with a reason by returning an [`ExitReason`] as the error. Panics are caught and become a reason too;
//!   [`install_panic_hook`] makes their report one log line, with the place.
//! - A killed child ends at its next `.await`: a loop without one cannot be killed, in ractor or in tokio at all.
//! - Everything that reaches a supervisor is handled in the order in which it happened. Time is tokio's: trees run on a
//!   paused clock.
//!
//! # Compared with
//!
//! | | this crate | OTP 25 | ractor-supervisor 0.2 | kameo 0.22 |
//! |---|---|---|---|---|
//! | a supervisor is | a spec, as data | a spec, as data | a spec, as data | an actor that spawns its children |
//! | strategies | three, and dynamic supervisors | the same | the same | three; children can be added to any |
//! | stops its children | in reverse order, each within its time | the same | kills all at once, unordered | asks all at once, without limit |
//! | a failing first start | undoes the others | undoes the others | is retried | is an exit like any other |
//! | a successor starts | when the dead one, its subtree and all they owned are gone | when the dead one is gone | 10 ms after the kill | before the dead one's `on_stop`, with its mailbox |
//! | exit reasons | typed | terms | strings | typed |
//! | limit of restarts | per supervisor, then it gives up | the same | the same | per child, then it stays down |
//! | one order of exits, requests and retries | yes | yes | no | no retries to order |
//! | significant children, automatic shutdown | yes | yes | no | no |
//! | start, terminate, restart, delete by request | yes | yes | start and terminate, dynamic only | start |
//! | a reference that outlives restarts | yes | registered names | registered names | yes |
//!
//! What is said of OTP is checked against it: recorded scenarios run as tests (`tests/otp`), and fresh ones can be made
//! wherever Erlang is installed.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod child_ref;
mod children;
mod dynamic_flock;
mod errors;
mod exit_port;
mod exit_reason;
mod panics;
mod process;
mod requests;
mod restart_policy;
mod root;
mod snapshot;
mod spec;
mod spec_check;
mod start;
mod static_flock;
mod supervised;
mod supervisor;
mod supervisor_ref;
mod telemetry;

pub use child_ref::{CallError, ChildRef, NotRunning};
pub use errors::{
    ChildSpecError, DeleteChildError, NoSupervisor, RestartChildError, StartChildError, TerminateChildError,
};
pub use exit_reason::{ExitReason, PanicReport};
pub use panics::install_panic_hook;
pub use process::stop_reason;
pub use requests::{ChildKey, StartedChild};
pub use root::{InterventionError, RootHandle, start_root, start_root_with};
pub use snapshot::{ChildCounts, ChildInfo, ChildNow, ChildSnapshot, RestartRecord, TreeSnapshot};
pub use spec::{
    AutoShutdown, ChildId, ChildKind, ChildPolicy, ChildSpec, Restart, RestartIntensity, Shutdown, Strategy,
    SupervisorSpec, restarts,
};
pub use spec_check::{ChildWords, SpecError, SupervisorFlags, SupervisorWords};
pub use start::{Info, StartChild, StartContext, StartError, Started, start_actor};
pub use supervisor::SupervisorMessage;
pub use supervisor_ref::{DynamicSupervisor, SupervisorHandle, SupervisorRef};
pub use telemetry::{ChildExit, Telemetry};
