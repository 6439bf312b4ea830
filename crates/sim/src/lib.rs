//! A stand-in AWS, with a ProxySQL fleet, Aurora endpoints and the customers' traffic behind it.
//!
//! What talks to the simulator is production code: the official AWS SDK, `awscli`, real MySQL clients.
//! It shares no type with the rest of the workspace, because a misunderstanding held in common would
//! cancel itself out in every test.
//!
//! ```text
//!   SDK, awscli ──HTTP──▶ aws/*   ─┐                     ┌─ group, host   Auto Scaling, EC2
//!   mysql clients ──────▶ mysql/* ─┼─▶ physics (one lock)─┼─ targets       ELBv2
//!   tests, the web page ▶ control ─┘                     ├─ aurora        RDS
//!                                                        └─ traffic       what customers see
//! ```
//!
//! What happens is told to whoever subscribes (`notify`), as SNS and EventBridge tell it.
//!
//! [`Physics`] is the world: pure, single-threaded, advanced in ticks of one simulated second, and
//! deterministic for a seed. Everything around it is wire. Running the same physics with no wire at
//! all answers "what if nobody acts": [`counterfactual`].
//!
//! Deliberately absent: an NLB data plane (clients are a fluid, not sockets), request signing checks
//! (any access key is accepted and written to the ledger, and may do everything until [`Sim::allow_only`]), TLS.

mod alarm;
mod aws;
mod clairvoyant;
mod clock;
mod control;
mod counterfactual;
mod fault;
mod hold;
mod incident;
mod ledger;
mod mysql;
mod notify;
mod physics;
mod shared;
mod shedder;
mod sim;
mod statuspage;
mod world;

pub use alarm::{Alarm, AlarmSubject, Comparison, Missing, Statistic};
pub use aws::{EVERYBODY, Operation, PolicyError, operations};
pub use clairvoyant::{Replacement, critical_path};
pub use clock::Clock;
pub use counterfactual::{counterfactual, counterfactual_with};
pub use fault::{ApiFault, ApiTrouble, FaultKind, TimedFault};
pub use hold::{Hold, Phase};
pub use ledger::LedgerEntry;
pub use notify::Subscriber;
pub use physics::{Bounds, Effect, Modification, Physics, Refusal, Sample};
pub use shedder::SHEDDER_SECRET;
pub use sim::{Options, Sim, StartError};
pub use statuspage::{STATUSPAGE_PAGE, STATUSPAGE_TOKEN};
pub use world::{
    Clients, Cluster, ClusterInfo, Fleet, FleetInfo, HealthCheck, Hook, TargetGroup, World, WorldError,
    WorldInfo, max_connections, memory_gib,
};
