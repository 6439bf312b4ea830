//! The engine on a real Postgres, with a small world of its own whose every call is counted.

mod asking;
mod recovering;
mod running;
mod world;
