//! The simulator from outside: by programs that other people wrote.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod fidelity;
