//! The binary as people and machines meet it: real processes, a real Postgres, the real AWS SDK against the simulator on
//! the wire (and against moto), real MySQL logins, a real Chromium.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod aborts;
mod answers;
mod audit;
mod backtest;
mod brakes;
mod browser;
mod chrome;
mod described;
mod discovery;
mod doctor;
mod drills;
mod faults;
mod fleets;
mod keyboard;
mod kills;
mod larger;
mod look;
mod machine;
mod manual;
mod moto;
mod notices;
mod oidc;
mod pages;
mod permissions;
mod prometheus;
mod readiness;
mod remote;
mod runbooks;
mod served;
mod signals;
mod slack;
mod together;
mod traces;
