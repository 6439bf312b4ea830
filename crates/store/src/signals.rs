//! Signals as they come in, and as people see them.
//!
//! What is said again counts up on one row. What was over and is said again is a new row, unless that is an old delivery which has
//! come late, and opens nothing. How that is told apart depends on the source:
//!
//! - its fingerprint is of one time of the trouble alone ([`ONCE`]): what was over stays over;
//! - its messages bear the time of what they tell ([`DATED`]): an older one than what is known changes nothing;
//! - it bears a later time only when the trouble begins anew ([`REOPENED`]): any other is late, however long it was on its way;
//! - any other that says that it began at the same time: late, if it comes within two minutes of the end. Later it fires again: a
//!   sender that was cut off has called it over too early, and goes on with the time at which it began.
//!
//! Which row that is, `told_by` says, a function in the database: to who writes it, and to who locks it before ([`take_turn`]).
//!
//! - `intake`: what is written when they come in; `turns`: in which order, so that nobody waits for anybody in a circle;
//! - `silence`: what is over because nobody says it any more;
//! - `read`: what people and processes ask for.
//!
//! [`ONCE`]: domain::signal::ONCE
//! [`DATED`]: domain::signal::DATED
//! [`REOPENED`]: domain::signal::REOPENED
//! [`take_turn`]: turns::take_turn

mod intake;
mod read;
mod silence;
mod turns;

pub use intake::{Received, receive, receive_all};
pub use read::{SignalFilter, SignalRow, body, firing, firing_of, list, offers, one};
pub use silence::{events_are_over, prober_is_calm, prober_is_gone};
