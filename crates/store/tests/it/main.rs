//! The store on a real Postgres.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod asked;
mod brakes;
mod cards;
mod facts;
mod history;
mod indexes;
mod migrations;
mod outbox;
mod people;
mod proof;
mod retention;
mod roles;
mod seals;
mod signals;
mod took;
mod triage;
