//! The engine on a real Postgres, with a small world of its own whose every call is counted.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod asking;
mod braking;
mod forms;
mod gate;
mod holding;
mod judging;
mod planning;
mod postgres;
mod recovering;
mod reloading;
mod role;
mod running;
mod showing;
mod telling;
mod trusting;
mod waited;
mod waiting;
mod watching;
mod wire;
mod world;
