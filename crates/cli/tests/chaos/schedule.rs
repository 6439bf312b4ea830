//! What a seed means: which runs are started, what goes wrong, and when.
//!
//! "When" is counted in appends to journals, seen on the wire, over all processes, not in seconds: so a seed hits nearly the same
//! places again on a machine of another speed.

use std::time::Duration;

use serde_json::{Value, json};
use sim::{ApiFault, ApiTrouble, Phase};
use uuid::Uuid;

use crate::chance::Chance;
use crate::wire::Write;

/// Server processes on one Postgres.
pub(crate) const SERVERS: usize = 3;

/// How long a process is believed alive.
pub(crate) const LEASE: Duration = Duration::from_millis(1500);

/// Simulated seconds per second.
pub(crate) const SPEED: f64 = 100.0;

/// The fleets, and the cluster behind each.
pub(crate) const FLEETS: [(&str, &str); 2] = [("alpha", "shard-a"), ("beta", "shard-b")];

#[derive(Debug)]
pub(crate) struct Schedule {
    /// Also of what chance decides in the simulator.
    pub(crate) seed: u64,
    /// In the order in which they are started on each fleet.
    pub(crate) starts: Vec<Start>,
    /// In order of `at`.
    pub(crate) faults: Vec<Timed>,
}

/// Somebody wants a run.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) key: Uuid,
    pub(crate) runbook: &'static str,
    pub(crate) fleet: usize,
    pub(crate) inputs: Value,
    /// Through which process.
    pub(crate) server: usize,
    /// Clicked twice, the second time at another process.
    pub(crate) double: Option<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Timed {
    /// At the so manieth append to a journal.
    pub(crate) at: u64,
    pub(crate) fault: Fault,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// kill -9; it is started again.
    Kill { server: usize },
    /// SIGSTOP, longer than the lease, then SIGCONT: the zombie.
    Freeze { server: usize, leases: f64 },
    /// SIGTERM: it drains and ends, and is started again.
    Drain { server: usize },
    /// The next write of this kind, by whichever process, meets this.
    Wire { write: Write, trouble: WireTrouble },
    /// All connections of a process to Postgres are cut.
    Cut { server: usize },
    /// Nothing passes between a process and Postgres for a while.
    Hole { server: usize, ms: u64 },
    /// Everything between a process and Postgres takes longer for a while.
    Slow { server: usize, by_ms: u64, ms: u64 },
    /// Postgres ends some of its connections.
    Terminate { every: i32 },
    /// Postgres restarts.
    Restart { how: Restart, down_ms: u64 },
    /// The next such call to AWS or ProxySQL is stopped at that point.
    Trap { operation: &'static str, phase: Phase, then: Then },
    /// A dial of the AWS API.
    Dial(ApiFault),
    /// A person wishes something of a run, by place in `starts`.
    Wish { run: usize, wish: Wish, server: usize },
}

/// What a write to Postgres meets on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireTrouble {
    /// The connection is cut before it arrives.
    LoseRequest,
    /// It is executed and committed; the connection is cut before the answer arrives.
    LoseReply,
    /// Its process is killed before it arrives, and it never does.
    KillBefore,
    /// Its process is killed after the commit, before the answer.
    KillAfter,
    /// Its process is killed, and it arrives all the same, after others took over.
    Ghost,
    /// The answer arrives after more than a lease.
    LateReply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    /// Connections are ended in order.
    Fast,
    /// As after a power cut: recovery from the log.
    Immediate,
    /// One backend crashes, and takes all the others along.
    Crash,
}

/// What becomes of a trapped call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Its caller never hears of it.
    Lose,
    /// Its caller is killed, and it is lost.
    Kill,
    /// Its caller is killed, and it goes on all the same, later.
    KillAndGoOn,
    /// Its caller is frozen beyond its lease, then both go on.
    Freeze,
    /// It goes on later.
    Late,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Pause,
    AbortFinally,
    AbortAll,
}

/// Every mutating operation that the runbooks make.
const OPERATIONS: [&str; 8] = [
    "SuspendProcesses",
    "ResumeProcesses",
    "UpdateAutoScalingGroup",
    "SetDesiredCapacity",
    "SetInstanceProtection",
    "TerminateInstanceInAutoScalingGroup",
    "PROXYSQL PAUSE",
    "PROXYSQL RESUME",
];

impl Schedule {
    pub(crate) fn draw(seed: u64) -> Self {
        let chance = &mut Chance::new(seed);
        let mut starts = Vec::new();
        for n in 0..4 {
            starts.push(start(chance, seed, n));
        }
        let runs = starts.len();
        let count = chance.between(5, 10);
        let mut faults: Vec<Timed> = (0..count)
            .map(|_| {
                // Most in the thick of it; some right after another.
                let at = chance.between(1, 110);
                Timed { at, fault: fault(chance, runs) }
            })
            .collect();
        faults.sort_by_key(|f| f.at);
        Self { seed, starts, faults }
    }

    /// One short run through the first server, and these faults.
    pub(crate) fn by_hand(faults: &[(u64, Fault)]) -> Self {
        let (fleet, _) = FLEETS[0];
        let start = Start {
            key: Uuid::from_u64_pair(0, 1),
            runbook: "juggle",
            fleet: 0,
            inputs: json!({ "fleet": fleet, "max": 10 }),
            server: 0,
            double: None,
        };
        let faults = faults.iter().cloned().map(|(at, fault)| Timed { at, fault }).collect();
        Self { seed: 0, starts: vec![start], faults }
    }
}

fn start(chance: &mut Chance, seed: u64, n: usize) -> Start {
    let fleet = n % FLEETS.len();
    let (id, cluster) = FLEETS[fleet];
    // The hosts of the first fleet are sick: there is something to heal, once.
    let runbook = match chance.below(10) {
        0..4 if n == 0 => "replace-proxysql",
        0..7 => "juggle",
        _ => "swap",
    };
    let inputs = match runbook {
        "replace-proxysql" => json!({ "fleet": id, "cluster": cluster, "at_once": "50%" }),
        "juggle" => json!({ "fleet": id, "max": 10 + n }),
        _ => json!({ "fleet": id }),
    };
    let server = chance.below(SERVERS);
    let double = chance.percent(40).then(|| chance.below(SERVERS));
    let key = Uuid::from_u64_pair(seed, n as u64 + 1);
    Start { key, runbook, fleet, inputs, server, double }
}

fn fault(chance: &mut Chance, runs: usize) -> Fault {
    let server = chance.below(SERVERS);
    match chance.below(100) {
        0..10 => Fault::Kill { server },
        10..20 => Fault::Freeze { server, leases: chance.between(12, 25) as f64 / 10.0 },
        20..26 => Fault::Drain { server },
        26..50 => wire(chance),
        50..54 => Fault::Cut { server },
        54..59 => Fault::Hole { server, ms: chance.between(200, 3000) },
        59..62 => Fault::Slow { server, by_ms: chance.between(5, 100), ms: chance.between(500, 2000) },
        62..66 => Fault::Terminate { every: chance.between(1, 3) as i32 },
        66..72 => Fault::Restart {
            how: chance.one(&[Restart::Fast, Restart::Immediate, Restart::Crash]),
            down_ms: chance.between(0, 1500),
        },
        72..88 => trap(chance),
        88..95 => Fault::Dial(dial(chance)),
        _ => Fault::Wish {
            run: chance.below(runs),
            wish: chance.one(&[Wish::Pause, Wish::Pause, Wish::AbortFinally, Wish::AbortAll]),
            server,
        },
    }
}

fn wire(chance: &mut Chance) -> Fault {
    use WireTrouble::{Ghost, KillAfter, KillBefore, LateReply, LoseReply, LoseRequest};
    let write = match chance.below(10) {
        0..5 => Write::Append,
        5 | 6 => Write::Create,
        7 => Write::Claim,
        8 => Write::Renew,
        _ => Write::Inbox,
    };
    let trouble = chance.one(&[LoseRequest, LoseReply, LoseReply, KillBefore, KillAfter, Ghost, LateReply]);
    Fault::Wire { write, trouble }
}

fn trap(chance: &mut Chance) -> Fault {
    let operation = chance.one(&OPERATIONS);
    let phase = chance.one(&[Phase::BeforeEffect, Phase::AfterEffect]);
    let then = chance.one(&[Then::Lose, Then::Kill, Then::KillAndGoOn, Then::Freeze, Then::Late]);
    Fault::Trap { operation, phase, then }
}

fn dial(chance: &mut Chance) -> ApiFault {
    use ApiTrouble::{InternalError, Latency, Throttle, TimeoutAfter, TimeoutBefore, Unavailable};
    let seconds = chance.between(5, 120) as f64;
    let trouble =
        chance.one(&[Throttle, InternalError, Unavailable, Latency { seconds }, TimeoutBefore, TimeoutAfter]);
    // Looks that are never answered wait for their deadline of a minute: only changes are treated so.
    let silent = matches!(trouble, TimeoutBefore | TimeoutAfter);
    let changes = &OPERATIONS[..6];
    ApiFault {
        service: Some("autoscaling".into()),
        operation: (silent || chance.percent(50)).then(|| chance.one(changes).to_owned()),
        trouble,
        probability: chance.one(&[1.0, 0.5]),
        next: Some(chance.between(1, 4) as u32),
    }
}
