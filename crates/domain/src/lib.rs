//! The nouns and the rules of Firebreak: what things are, and which moves are legal.
//!
//! Nothing here does I/O, reads a clock or draws a random number; all of it is handed in. That is what lets the hard
//! part of the product (the run state machine, the runbook language, planning) be a set of plain functions that tests
//! can hammer without Postgres or AWS.
//!
//! - [`action`]: the one central trait, [`action::Action`], because an action lives two lives: executed and planned.
//! - [`runbook`]: the language: parsing with positions, checking, expressions.
//! - [`run`]: the journal of a run, and the two pure functions over it: what the journal means, and what follows.
//! - [`plan`]: what a run would do, told before it does it; and what it did, set beside that.
//! - [`readiness`]: would it work if it were needed; [`forecast`]: how long it takes, as past runs tell.
//! - [`advice`]: from what the login prober saw to what is wrong, and the runbook that heals it.
//! - [`signal`], [`triage`]: what machines say is wrong, and what is done about it.
//! - [`incident`]: what people do together about one trouble.
//! - [`drill`]: practice on a simulated world, and how it went.
//! - [`notice`]: what people elsewhere are told; [`chat`]: runs as a chat shows them, and the buttons on them; [`trace`]: runs as tools
//!   for tracing show them.
//! - [`trust`]: how far triggers may go: their modes, how they compare with what people did, and what edited rules would change.
//! - [`brake`]: what holds Firebreak back: kill switch, freezes, limits, targets taken by hand.
//! - [`audit`]: the hash chain that a journal is.
//! - [`role`]: who may do what; [`policy`]: what less of it on some runbooks; [`token`]: what a program may that speaks for somebody.
//! - [`identity`]: who somebody is and what they may do, by what their provider says of them.
//! - [`words`]: numbers with what they count, in words.
//! - [`inventory`]: the clusters and proxy fleets that runbooks may touch; [`discovery`]: what AWS has beside them.
//!
//! Deliberately absent: SQL (`store`), sequencing and waiting (`engine`), anything that talks (`actions`, `server`).

pub mod action;
pub mod actor;
pub mod advice;
pub mod audit;
pub mod brake;
pub mod chat;
pub mod clock;
pub mod discovery;
pub mod drill;
pub mod forecast;
pub mod identity;
pub mod incident;
pub mod inventory;
pub mod notice;
pub mod plan;
pub mod policy;
pub mod readiness;
pub mod role;
pub mod run;
pub mod runbook;
pub mod signal;
pub mod token;
pub mod trace;
pub mod triage;
pub mod trust;
pub mod words;

pub use actor::Actor;
pub use clock::{Clock, Timestamp};
pub use role::Role;
