//! What the model's world consists of. Time is in ticks, the true one is AWS's and the database's.

pub(crate) type Tick = u8;
/// As the database numbers incarnations; a lost tail may have it give out a number again.
pub(crate) type Id = u16;
/// What an incarnation really is. Nobody in the protocol sees it; the promises do.
pub(crate) type Incarnation = u8;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) now: Tick,
    /// The worker whose wall clock is a tick ahead of the others'.
    pub(crate) ahead: usize,
    pub(crate) db: Db,
    /// What the database was before its last writes: any of these may be what a standby has.
    pub(crate) before: Vec<Db>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) network: Vec<Call>,
    /// How often the change took effect.
    pub(crate) made: u8,
    pub(crate) left: Faults,
    pub(crate) incarnations: Incarnation,
    /// Set by the first event that breaks what is promised of events rather than of states.
    pub(crate) broken: Option<Broken>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    /// The gate let somebody through whose run was another's.
    Gate,
    /// A call took effect that no database ever had an intent of.
    Unannounced,
    /// A worker wrote where another had written under the same epoch, or a later one had.
    Writer,
    /// It says done, and nothing was.
    Lie,
}

/// How much may still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// kill -9; the process is started again.
    pub(crate) kills: u8,
    /// Commits whose acknowledgement is lost, and answers of AWS that are.
    pub(crate) lost_answers: u8,
    /// Ticks that pass although somebody could act: frozen processes, slow networks, slow commits.
    pub(crate) dawdling: u8,
    /// The database dies, and a standby that may lack the last writes is promoted.
    pub(crate) failovers: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Db {
    pub(crate) timeline: u8,
    pub(crate) next_id: Id,
    pub(crate) leases: Vec<Lease>,
    pub(crate) owner: Id,
    pub(crate) epoch: u16,
    pub(crate) journal: Vec<Written>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) id: Id,
    pub(crate) until: Tick,
    pub(crate) timeline: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Written {
    pub(crate) epoch: u16,
    pub(crate) write: u16,
    pub(crate) by: Incarnation,
    pub(crate) entry: Entry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    Requested,
    /// When, on the clock of who took it over.
    TakenOver {
        at: Tick,
    },
    /// The deadline is on the clock of the worker that wrote it; `closes` is the same on the true one.
    Intent {
        deadline: Tick,
        closes: Tick,
    },
    /// The gate was shut.
    NotSent,
    Done,
    /// A person is asked.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) id: Id,
    pub(crate) incarnation: Incarnation,
    pub(crate) timeline: u8,
    /// When it last asked for its lease, and got it.
    pub(crate) asked: Tick,
    pub(crate) task: Task,
}

/// Where a worker is with the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Task {
    /// Has no run.
    Idle,
    /// Drives it.
    Drives(Run, Doing),
}

/// What its driver knows of the run. It may be wrong by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub(crate) epoch: u16,
    /// Length of the journal.
    pub(crate) seq: u8,
    /// The deadline of an intent whose outcome is not known, on the clock of whoever wrote it.
    pub(crate) open: Option<Tick>,
    /// Entries may have been lost: nothing is sent before this, on this worker's clock.
    pub(crate) safe_from: Option<Tick>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    /// Looks what is to be done.
    Deciding,
    /// Wants to have this as the next entry.
    Writing { write: u16, entry: Entry },
    /// The intent is committed; the gate closes at this tick.
    Ready { closes: Tick, announced: bool },
    /// The request is signed and through the gate, and not yet on the wire.
    Through { closes: Tick, signed: Tick, announced: bool },
    /// On the wire.
    Sent { closes: Tick, answered: bool },
}

/// A mutating call on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Call {
    /// On the sender's clock.
    pub(crate) signed: Tick,
    pub(crate) from: Incarnation,
    pub(crate) announced: bool,
}
