//! The actions against real counterparts: the simulator on the wire, moto as a second opinion, MariaDB, and servers
//! that misbehave. One binary, because linking the AWS SDK is what costs.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod accounts;
mod calls;
mod changes;
mod cloudwatch;
mod describe;
mod failover;
mod garbage;
mod harness;
mod logins;
mod mariadb;
mod metrics;
mod moto;
mod notify;
mod proxysql;
mod slack;
mod statuspage;
mod webhook;
