//! The protocol: who may do what next, and what comes of it.
//!
//! One run of one change, two workers, and everything that can go wrong between any two steps of theirs. What follows from
//! a look at an open intent, and from a journal that may lack its end, is decided by the functions of `domain::run` that
//! decide it in production.
//!
//! ```text
//!  Claim ─▶ Look ─▶ Append(intent) ─▶ Gate ─▶ Send ─ ─ ─▶ Land ─▶ Answer ─▶ Append(done)
//!            ▲                                 └ ─ ─ ─ Timeout │ LoseAnswer ┘
//!            └─────────────────────────────────────────┘
//! ```
//!
//! With every tick, who is not frozen renews its lease (or learns that it is lost, and begins anew). A frozen process does
//! nothing, at any point; once awake it may do everything before it learns anything. A slow commit and a call that the
//! network holds are ticks too. They cost nothing while everybody waits, and dawdling while somebody could act, so that
//! runs end.
//!
//! Left out, because each can only do less harm than what is here: taking over a run and writing so are one step (both are
//! fenced alike); a driver that is told nothing new (people, timers); several runs (they share no more than the lease); a
//! statement that fails without an effect (a slow one is as bad). Assumed: the old primary is dead once another one is
//! promoted, and clocks differ by no more than is allowed for.

use std::time::Duration;

use chrono::DateTime;
use domain::Timestamp;
use domain::action::Effect;
use domain::run::{EPOCH_JUMP, Record, Recovery, recover, tail_lost};
use stateright::{Model, Property};

use crate::state::{
    Broken, Call, Db, Doing, Entry, Faults, Id, Incarnation, Lease, Run, Task, Tick, Worker, World, Written,
};

const LEASE: Tick = 4;
const MARGIN: Tick = 2;
/// How long a call may take.
const DEADLINE: Tick = 2;
/// How long after it was signed a request is taken.
const SIGNATURE: Tick = 4;
/// By how much two clocks may differ.
const SKEW: Tick = 1;
/// The monotonic clock of this worker loses a tick in a lease.
const SLOW: usize = 0;
/// Later than any run that can end has ended.
const HORIZON: Tick = 60;
/// Writes that a standby may lack.
const LAG: usize = 3;

/// Each can be taken out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Safeguards {
    /// A write needs the owner, the epoch and the next number.
    pub(crate) fence: bool,
    /// Last thing before the socket: lease and deadline.
    pub(crate) gate: bool,
    /// Nothing is sent before the intent is committed.
    pub(crate) intent_first: bool,
    /// A look counts only once no old copy can land any more.
    pub(crate) signature_wait: bool,
    /// That wait allows for clocks that differ.
    pub(crate) skew_allowance: bool,
    /// A worker stops before others may start.
    pub(crate) margin: bool,
    /// What cannot be looked up is asked, not repeated.
    pub(crate) blind_asks: bool,
    /// A write that found no place is looked for.
    pub(crate) write_id: bool,
    /// After a failover the epoch grows by more than can have been lost.
    pub(crate) epoch_jump: bool,
    /// The timeline is part of a worker's number.
    pub(crate) ids_by_timeline: bool,
    /// A lease is not renewed on another timeline.
    pub(crate) timeline: bool,
    /// After a loss, nothing is sent until what was forgotten can no longer land.
    pub(crate) wait_after_loss: bool,
    /// After a loss, what cannot be looked up is asked.
    pub(crate) doubt_after_loss: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol {
    pub(crate) effect: Effect,
    pub(crate) safeguards: Safeguards,
    pub(crate) faults: Faults,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    Tick,
    /// A tick in which this worker is frozen.
    Freeze(usize),
    Claim(usize),
    Look(usize),
    Append(usize),
    AppendLosesAnswer(usize),
    Gate(usize),
    Send(usize),
    Land(Call),
    Answer(usize),
    LoseAnswer(usize),
    Timeout(usize),
    /// It is started again at once.
    Kill(usize),
    Failover(usize),
}

impl Protocol {
    pub(crate) fn new(effect: Effect) -> Self {
        let safeguards = Safeguards {
            fence: true,
            gate: true,
            intent_first: true,
            signature_wait: true,
            skew_allowance: true,
            margin: true,
            blind_asks: true,
            write_id: true,
            epoch_jump: true,
            ids_by_timeline: true,
            timeline: true,
            wait_after_loss: true,
            doubt_after_loss: true,
        };
        Self { effect, safeguards, faults: Faults { kills: 1, lost_answers: 1, dawdling: 4, failovers: 0 } }
    }

    fn window(&self) -> Tick {
        match (self.safeguards.signature_wait, self.safeguards.skew_allowance) {
            (false, _) => 0,
            (true, false) => SIGNATURE,
            (true, true) => SIGNATURE + SKEW,
        }
    }

    /// For how long this worker believes it may still act.
    fn remaining(&self, world: &World, w: usize, asked: Tick) -> Tick {
        let measured = (world.now - asked).saturating_sub(Tick::from(w == SLOW));
        let margin = if self.safeguards.margin { MARGIN } else { 0 };
        (LEASE - margin).saturating_sub(measured)
    }

    /// What a worker that decides would do now; `None` while it waits.
    fn decision(&self, world: &World, w: usize, run: Run, asked: Tick) -> Option<Decision> {
        let now = clock(world, w);
        if run.safe_from.is_some_and(|safe| self.safeguards.wait_after_loss && now < safe) {
            return None;
        }
        let visible = self.effect != Effect::Blind;
        let settled = visible && world.made > 0;
        let Some(deadline) = run.open else {
            if settled {
                return Some(Decision::Write(Entry::Done));
            }
            let doubted = run.safe_from.is_some() && !visible && self.safeguards.doubt_after_loss;
            return match self.remaining(world, w, asked) {
                _ if doubted => Some(Decision::Write(Entry::Unknown)),
                // Without a lease nothing is announced; the renewal decides.
                0 => None,
                left => Some(Decision::Announce(world.now + left.min(DEADLINE))),
            };
        };
        let effect = if visible || self.safeguards.blind_asks { self.effect } else { Effect::Idempotent };
        let window = Duration::from_secs(self.window().into());
        match recover(effect, true, settled, at(now), at(deadline), window) {
            Recovery::FoundDone => Some(Decision::Write(Entry::Done)),
            // The attempt is over; the next turn announces another.
            Recovery::SendAgain => Some(Decision::Write(Entry::NotSent)),
            Recovery::LookAgainAt(_) => None,
            Recovery::AskPerson => Some(Decision::Write(Entry::Unknown)),
        }
    }

    fn may_claim(&self, world: &World, id: Id, timeline: u8) -> bool {
        let db = &world.db;
        let alive = db.leases.iter().any(|l| l.id == id && l.until > world.now);
        let here = !self.safeguards.timeline || timeline == db.timeline;
        alive && here && !db.ended() && !db.leases.iter().any(|l| l.id == db.owner && l.until > world.now)
    }

    /// What this worker can do by itself.
    fn steps(&self, world: &World, w: usize, events: &mut Vec<Event>) {
        let Worker { id, timeline, asked, task, .. } = &world.workers[w];
        match task {
            Task::Idle if self.may_claim(world, *id, *timeline) => events.push(Event::Claim(w)),
            Task::Idle => {}
            Task::Drives(run, doing) => match doing {
                Doing::Deciding => {
                    if self.decision(world, w, *run, *asked).is_some() {
                        events.push(Event::Look(w));
                    }
                }
                Doing::Writing { .. } => events.push(Event::Append(w)),
                Doing::Ready { .. } => events.push(Event::Gate(w)),
                Doing::Through { .. } => events.push(Event::Send(w)),
                Doing::Sent { answered: true, .. } => events.push(Event::Answer(w)),
                Doing::Sent { closes, .. } if world.now >= *closes => events.push(Event::Timeout(w)),
                Doing::Sent { .. } => {}
            },
        }
    }

    /// What can go wrong with this worker.
    fn accidents(&self, world: &World, w: usize, events: &mut Vec<Event>) {
        let task = &world.workers[w].task;
        if world.left.kills > 0 && *task != Task::Idle {
            events.push(Event::Kill(w));
        }
        if world.left.lost_answers > 0 {
            match task {
                Task::Drives(_, Doing::Writing { .. }) => events.push(Event::AppendLosesAnswer(w)),
                Task::Drives(_, Doing::Sent { answered: true, .. }) => events.push(Event::LoseAnswer(w)),
                _ => {}
            }
        }
    }

    /// A new incarnation in this place. What was through the gate is on its way.
    fn begin(&self, world: &mut World, w: usize) {
        world.remember(&self.faults);
        let db = &mut world.db;
        let number = db.next_id;
        db.next_id += 1;
        let id = if self.safeguards.ids_by_timeline { number + 100 * Id::from(db.timeline) } else { number };
        db.leases.retain(|l| l.id != id);
        db.leases.push(Lease { id, until: world.now + LEASE, timeline: db.timeline });
        world.incarnations += 1;
        world.workers[w] = Worker {
            id,
            incarnation: world.incarnations,
            timeline: db.timeline,
            asked: world.now,
            task: Task::Idle,
        };
    }

    fn renew(&self, world: &mut World, w: usize) {
        let now = world.now;
        let Worker { id, timeline, asked, task, incarnation } = &mut world.workers[w];
        let here = !self.safeguards.timeline || *timeline == world.db.timeline;
        match world.db.leases.iter_mut().find(|l| l.id == *id && l.until > now) {
            Some(lease) if here => (lease.until, *asked) = (now + LEASE, now),
            _ => {
                if let Task::Drives(_, Doing::Through { signed, announced, .. }) = *task {
                    let call = Call { signed, from: *incarnation, announced };
                    if !too_old(&call, now) {
                        world.network.push(call);
                        world.network.sort();
                    }
                }
                self.begin(world, w);
            }
        }
    }

    fn claim(&self, world: &mut World, w: usize) {
        world.remember(&self.faults);
        let at = clock(world, w);
        let Worker { id, incarnation, task, .. } = &mut world.workers[w];
        let db = &mut world.db;
        let lost = db.leases.iter().any(|l| l.id == db.owner && l.timeline != db.timeline);
        let jump = if lost && self.safeguards.epoch_jump { EPOCH_JUMP as u16 } else { 1 };
        db.owner = *id;
        db.epoch += jump;
        let write = write(*incarnation, db.journal.len());
        let entry = Entry::TakenOver { at: if lost { at } else { 0 } };
        let written = Written { epoch: db.epoch, write, by: *incarnation, entry };
        let broken = db.push(written);
        let journal = db.journal.iter().zip(1..).map(|(w, seq)| w.record(seq)).collect::<Vec<_>>();
        let safe_from = if lost && !self.safeguards.epoch_jump {
            Some(at)
        } else {
            tail_lost(&journal, db.epoch.into(), self::at(at)).map(|at| at.timestamp() as Tick)
        };
        let flight = DEADLINE.max(LEASE) + self.window();
        let run = Run {
            epoch: db.epoch,
            seq: db.journal.len() as u8,
            open: db.open_intent(),
            safe_from: safe_from.map(|at| at + flight),
        };
        *task = Task::Drives(run, Doing::Deciding);
        world.broken = world.broken.or(broken);
    }

    fn look(&self, world: &mut World, w: usize) {
        let ahead = clock(world, w) - world.now;
        let Worker { incarnation, asked, task: Task::Drives(run, _), .. } = world.workers[w] else {
            return;
        };
        let write = write(incarnation, run.seq.into());
        let doing = match self.decision(world, w, run, asked) {
            None => return,
            Some(Decision::Write(entry)) => Doing::Writing { write, entry },
            Some(Decision::Announce(closes)) if self.safeguards.intent_first => {
                Doing::Writing { write, entry: Entry::Intent { deadline: closes + ahead, closes } }
            }
            Some(Decision::Announce(closes)) => Doing::Ready { closes, announced: false },
        };
        world.workers[w].set(Task::Drives(run, doing));
    }

    fn append(&self, world: &mut World, w: usize, answered: bool) {
        let Worker { id, incarnation, task: Task::Drives(mut run, Doing::Writing { write, entry }), .. } =
            world.workers[w]
        else {
            return;
        };
        let db = &world.db;
        let mine = db.owner == id && db.epoch == run.epoch && db.journal.len() == usize::from(run.seq);
        let there = db.journal.get(usize::from(run.seq)).is_some_and(|w| w.write == write);
        if mine || !self.safeguards.fence {
            world.remember(&self.faults);
            let broken = world.db.push(Written { epoch: run.epoch, write, by: incarnation, entry });
            let lie = (entry == Entry::Done && world.made == 0).then_some(Broken::Lie);
            world.broken = world.broken.or(broken).or(lie);
        } else if !(there && self.safeguards.write_id) {
            world.workers[w].set(Task::Idle);
            return;
        }
        if !answered {
            return;
        }
        run.seq += 1;
        let next = match entry {
            Entry::Intent { deadline, closes } => {
                run.open = Some(deadline);
                Task::Drives(run, Doing::Ready { closes, announced: true })
            }
            Entry::NotSent => Task::Drives(Run { open: None, ..run }, Doing::Deciding),
            Entry::Done | Entry::Unknown | Entry::Requested | Entry::TakenOver { .. } => Task::Idle,
        };
        world.workers[w].set(next);
    }

    fn gate(&self, world: &mut World, w: usize) {
        let signed = clock(world, w);
        let Worker {
            id,
            incarnation,
            timeline,
            asked,
            task: Task::Drives(run, Doing::Ready { closes, announced }),
        } = world.workers[w]
        else {
            return;
        };
        let write = write(incarnation, run.seq.into());
        let open = self.remaining(world, w, asked) > 0 && world.now < closes;
        let doing = if open || !self.safeguards.gate {
            // On another timeline the journal itself may be another: waiting is what makes up for it.
            let here = world.db.timeline == timeline;
            if here && self.safeguards.gate && (world.db.owner, world.db.epoch) != (id, run.epoch) {
                world.broken = world.broken.or(Some(Broken::Gate));
            }
            Doing::Through { closes, signed, announced }
        } else {
            Doing::Writing { write, entry: Entry::NotSent }
        };
        world.workers[w].set(Task::Drives(run, doing));
    }

    fn land(&self, world: &mut World, call: Call) {
        world.network.retain(|c| *c != call);
        // Three times is no worse than twice.
        world.made = (world.made + 1).min(2);
        if !call.announced {
            world.broken = world.broken.or(Some(Broken::Unannounced));
        }
        for worker in &mut world.workers {
            if let Worker { incarnation, task: Task::Drives(_, Doing::Sent { answered, .. }), .. } = worker
                && *incarnation == call.from
            {
                *answered = true;
            }
        }
    }
}

enum Decision {
    Write(Entry),
    /// Until this tick it may be sent.
    Announce(Tick),
}

impl Model for Protocol {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        let lease = |id| Lease { id, until: LEASE, timeline: 0 };
        let up = |id: Id, task| Worker { id, incarnation: id as Incarnation, timeline: 0, asked: 0, task };
        let requested = Written { epoch: 1, write: 0, by: 1, entry: Entry::Requested };
        let db = Db {
            timeline: 0,
            next_id: 3,
            leases: vec![lease(1), lease(2)],
            owner: 1,
            epoch: 1,
            journal: vec![requested],
        };
        let run = Run { epoch: 1, seq: 1, open: None, safe_from: None };
        let world = |ahead| World {
            now: 0,
            ahead,
            db: db.clone(),
            before: Vec::new(),
            workers: vec![up(1, Task::Drives(run, Doing::Deciding)), up(2, Task::Idle)],
            network: Vec::new(),
            made: 0,
            left: self.faults,
            incarnations: 2,
            broken: None,
        };
        vec![world(0), world(1)]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        if world.broken.is_some() {
            return;
        }
        for w in 0..world.workers.len() {
            self.steps(world, w, events);
        }
        let somebody_could_act = !events.is_empty();
        for w in 0..world.workers.len() {
            self.accidents(world, w, events);
        }
        events.extend(world.network.iter().map(|call| Event::Land(*call)));
        if world.left.failovers > 0 && !world.db.ended() {
            events.extend((0..world.before.len()).map(Event::Failover));
        }
        let busy = world.workers.iter().any(|w| w.task != Task::Idle);
        let going_on = !world.db.ended() || !world.network.is_empty() || busy;
        // A call that grows too old to be taken is a lost one.
        let lost = world.network.iter().filter(|call| too_old(call, world.now + 1)).count();
        if !going_on || world.now >= HORIZON || lost > usize::from(world.left.lost_answers) {
            return;
        }
        if !somebody_could_act || world.left.dawdling > 0 {
            events.push(Event::Tick);
        }
        if world.left.dawdling > 0 {
            let frozen = (0..world.workers.len()).filter(|w| world.workers[*w].task != Task::Idle);
            events.extend(frozen.map(Event::Freeze));
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut next = world.clone();
        match event {
            Event::Tick | Event::Freeze(_) => {
                let mut steps = Vec::new();
                (0..world.workers.len()).for_each(|w| self.steps(world, w, &mut steps));
                next.left.dawdling -= u8::from(!steps.is_empty() || event != Event::Tick);
                next.now += 1;
                next.network.retain(|call| !too_old(call, next.now));
                next.left.lost_answers -= (world.network.len() - next.network.len()) as u8;
                for w in (0..next.workers.len()).filter(|w| event != Event::Freeze(*w)) {
                    self.renew(&mut next, w);
                }
                // Nobody asks any more after a lease that is over and owns nothing.
                let (db, now) = (&mut next.db, next.now);
                db.leases.retain(|l| l.until > now || l.id == db.owner);
            }
            Event::Claim(w) => self.claim(&mut next, w),
            Event::Look(w) => self.look(&mut next, w),
            Event::Append(w) => self.append(&mut next, w, true),
            Event::AppendLosesAnswer(w) => {
                next.left.lost_answers -= 1;
                self.append(&mut next, w, false);
            }
            Event::Gate(w) => self.gate(&mut next, w),
            Event::Send(w) => {
                let Worker {
                    incarnation: from,
                    task: Task::Drives(run, Doing::Through { closes, signed, announced }),
                    ..
                } = next.workers[w]
                else {
                    return None;
                };
                let call = Call { signed, from, announced };
                if !too_old(&call, next.now) {
                    next.network.push(call);
                    next.network.sort();
                }
                next.workers[w].set(Task::Drives(run, Doing::Sent { closes, answered: false }));
            }
            Event::Land(call) => self.land(&mut next, call),
            Event::Answer(w) => {
                let Worker { incarnation, task: Task::Drives(run, _), .. } = next.workers[w] else {
                    return None;
                };
                let write = write(incarnation, run.seq.into());
                next.workers[w].set(Task::Drives(run, Doing::Writing { write, entry: Entry::Done }));
            }
            Event::Timeout(w) | Event::LoseAnswer(w) => {
                next.left.lost_answers -= u8::from(matches!(event, Event::LoseAnswer(_)));
                let Worker { task: Task::Drives(run, Doing::Sent { closes, .. }), .. } = next.workers[w]
                else {
                    return None;
                };
                let open = run.open.or(Some(closes));
                next.workers[w].set(Task::Drives(Run { open, ..run }, Doing::Deciding));
            }
            Event::Kill(w) => {
                next.left.kills -= 1;
                self.begin(&mut next, w);
            }
            Event::Failover(n) => {
                next.left.failovers -= 1;
                let timeline = next.db.timeline + 1;
                next.db = next.before.swap_remove(n);
                next.db.timeline = timeline;
                next.before.clear();
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a change is made at most once", |protocol: &Self, world: &World| {
                world.made <= 1 || !matches!(protocol.effect, Effect::Probe | Effect::Blind)
            }),
            Property::always("nothing is done without a committed intent", |_, world: &World| {
                world.broken != Some(Broken::Unannounced)
            }),
            Property::always(
                "an epoch has one writer, and none writes after a later one",
                |_, world: &World| world.broken != Some(Broken::Writer),
            ),
            Property::always("the gate is shut for who no longer owns the run", |_, world: &World| {
                world.broken != Some(Broken::Gate)
            }),
            Property::always("what is recorded as done was done", |_, world: &World| {
                world.broken != Some(Broken::Lie)
            }),
            Property::eventually("the run ends: done, or with a question to a person", |_, world: &World| {
                world.db.ended() || world.broken.is_some()
            }),
        ]
    }
}

impl World {
    /// Keeps what the database is before it is written to, for a standby that will lack it.
    fn remember(&mut self, faults: &Faults) {
        if faults.failovers > 0 && self.left.failovers > 0 {
            self.before.push(self.db.clone());
            if self.before.len() > LAG {
                self.before.remove(0);
            }
        }
    }
}

impl Worker {
    fn set(&mut self, to: Task) {
        self.task = to;
    }
}

impl Db {
    fn ended(&self) -> bool {
        self.journal.iter().any(|w| matches!(w.entry, Entry::Done | Entry::Unknown))
    }

    /// The deadline of the last intent, if nothing says what came of it.
    fn open_intent(&self) -> Option<Tick> {
        self.journal.iter().fold(None, |open, written| match written.entry {
            Entry::Intent { deadline, .. } => Some(deadline),
            Entry::TakenOver { .. } => open,
            Entry::Requested | Entry::NotSent | Entry::Done | Entry::Unknown => None,
        })
    }

    fn push(&mut self, written: Written) -> Option<Broken> {
        let before = |w: &Written| w.epoch > written.epoch || w.epoch == written.epoch && w.by != written.by;
        let broken = self.journal.iter().any(before).then_some(Broken::Writer);
        // What can matter no more is not kept, so that histories which differ in nothing else are one.
        for old in &mut self.journal {
            old.write = 0;
            if let (Entry::Intent { deadline, .. }, Entry::NotSent) = (&mut old.entry, written.entry) {
                *deadline = 0;
            }
        }
        let entry = match written.entry {
            Entry::Intent { deadline, .. } => Entry::Intent { deadline, closes: 0 },
            other => other,
        };
        self.journal.push(Written { entry, ..written });
        broken
    }
}

impl Written {
    fn record(&self, seq: i64) -> Record {
        let taken_over = match self.entry {
            Entry::TakenOver { at } => at,
            _ => 0,
        };
        Record {
            seq,
            at: at(taken_over),
            epoch: self.epoch.into(),
            entry: domain::run::Entry::TakenOver { worker: 0 },
        }
    }
}

/// Its signature is not accepted any more.
fn too_old(call: &Call, now: Tick) -> bool {
    now > call.signed + SIGNATURE
}

/// Tells this write from every other: who, and at which place.
fn write(incarnation: Incarnation, place: usize) -> u16 {
    u16::from(incarnation) * 256 + place as u16
}

/// The wall clock of a worker.
fn clock(world: &World, w: usize) -> Tick {
    world.now + SKEW * Tick::from(world.ahead == w)
}

fn at(tick: Tick) -> Timestamp {
    DateTime::from_timestamp(tick.into(), 0).unwrap()
}
