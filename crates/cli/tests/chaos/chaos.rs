//! The schedule as it unfolds: counts appends to journals, hands out the faults that are due, and keeps a record of them.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::processes::{self, Signal};
use crate::schedule::{Fault, LEASE, SERVERS, Timed, WireTrouble};
use crate::wire::Write;

pub(crate) struct Chaos {
    /// The processes, by server.
    pids: Mutex<[Option<u32>; SERVERS]>,
    /// Since when each stands still, and for how long it did at the most. What froze on a silent line, or before it had come to
    /// renew its lease after that, counts from the silence on: it is as late when it wakes.
    frozen: Mutex<[(Option<Instant>, Duration); SERVERS]>,
    /// When nothing passed on the line of each, the last time.
    silent: Mutex<[Option<Silence>; SERVERS]>,
    course: Mutex<Course>,
    fired: mpsc::UnboundedSender<Fault>,
    over: watch::Sender<bool>,
    since: Instant,
}

#[derive(Clone, Copy)]
struct Silence {
    since: Instant,
    /// None while it lasts.
    until: Option<Instant>,
}

impl Silence {
    /// May the process have come to renew its lease after it?
    fn is_past(&self) -> bool {
        self.until.is_some_and(|until| until.elapsed() >= LEASE / 3)
    }
}

struct Course {
    writes: u64,
    due: VecDeque<Timed>,
    armed: Vec<(Write, WireTrouble)>,
    healed: bool,
    unstruck: usize,
    over: Option<Instant>,
    record: Vec<String>,
}

impl Chaos {
    pub(crate) fn new(faults: &[Timed]) -> (Self, mpsc::UnboundedReceiver<Fault>) {
        let (fired, firing) = mpsc::unbounded_channel();
        // What lies in wait for the very first write.
        let at_once = |t: &Timed| match t.fault {
            Fault::Wire { write, trouble } if t.at == 0 => Some((write, trouble)),
            _ => None,
        };
        let armed = faults.iter().filter_map(at_once).collect();
        let due = faults.iter().filter(|t| at_once(t).is_none()).cloned().collect();
        let course =
            Course { writes: 0, due, armed, healed: false, unstruck: 0, over: None, record: Vec::new() };
        let (pids, course) = (Mutex::new([None; SERVERS]), Mutex::new(course));
        let (frozen, silent) = (Mutex::default(), Mutex::default());
        let over = watch::Sender::new(false);
        (Self { pids, frozen, silent, course, fired, over, since: Instant::now() }, firing)
    }

    /// A write is on the wire: what does it meet?
    pub(crate) fn meets(&self, server: usize, write: Write) -> Option<WireTrouble> {
        let mut course = lock(&self.course);
        if course.healed {
            return None;
        }
        if write == Write::Append {
            course.writes += 1;
            let now = course.writes;
            while let Some(timed) = course.due.pop_front_if(|t| t.at <= now) {
                match timed.fault {
                    Fault::Wire { write, trouble } => course.armed.push((write, trouble)),
                    fault => {
                        let _ = self.fired.send(fault);
                    }
                }
            }
        }
        let found = course.armed.iter().position(|(aimed, _)| *aimed == write)?;
        let (_, trouble) = course.armed.remove(found);
        drop(course);
        if matches!(trouble, WireTrouble::LoseRequest | WireTrouble::KillBefore | WireTrouble::Ghost) {
            self.note(format!("{write:?} of server {server} is sent: {trouble:?}"));
        }
        Some(trouble)
    }

    /// The next such write meets this.
    pub(crate) fn aim(&self, write: Write, trouble: WireTrouble) {
        let mut course = lock(&self.course);
        if !course.healed {
            course.armed.push((write, trouble));
        }
    }

    /// From now on nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        let mut course = lock(&self.course);
        if !course.healed {
            course.healed = true;
            course.unstruck = course.due.len() + course.armed.len();
            course.due.clear();
            course.armed.clear();
        }
        self.over.send_replace(true);
    }

    /// Completes once nothing goes wrong any more.
    pub(crate) async fn healed(&self) {
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// How many faults never struck.
    pub(crate) fn unstruck(&self) -> usize {
        lock(&self.course).unstruck
    }

    /// For how long has everything been under way that was to go wrong?
    pub(crate) fn over_for(&self) -> Option<Duration> {
        let mut course = lock(&self.course);
        let over = course.due.is_empty();
        over.then(|| course.over.get_or_insert_with(Instant::now).elapsed())
    }

    pub(crate) fn writes(&self) -> u64 {
        lock(&self.course).writes
    }

    /// Writes down what happened, for whoever looks at a failed seed.
    pub(crate) fn note(&self, what: impl Display) {
        let mut course = lock(&self.course);
        let line =
            format!("{:7.3} s, append {:3}: {what}", self.since.elapsed().as_secs_f64(), course.writes);
        course.record.push(line);
    }

    pub(crate) fn record(&self) -> Vec<String> {
        lock(&self.course).record.clone()
    }

    pub(crate) fn runs_as(&self, server: usize, pid: Option<u32>) {
        lock(&self.pids)[server] = pid;
        lock(&self.frozen)[server] = Default::default();
    }

    /// For how long the process of this server stood still, at the most.
    pub(crate) fn frozen(&self, server: usize) -> Duration {
        lock(&self.frozen)[server].1
    }

    /// Nothing passes on the line of this server from now on, or everything again.
    pub(crate) fn falls_silent(&self, server: usize, silent: bool) {
        let line = &mut lock(&self.silent)[server];
        match line {
            _ if silent => *line = Some(Silence { since: Instant::now(), until: None }),
            Some(silence) => silence.until = Some(Instant::now()),
            None => {}
        }
    }

    pub(crate) fn kill(&self, server: usize) {
        self.signal(server, Signal::Kill);
    }

    /// Sends a signal to a server, if it runs.
    pub(crate) fn signal(&self, server: usize, signal: Signal) {
        let pid = lock(&self.pids)[server];
        self.note(format!("server {server} ({pid:?}): {signal:?}"));
        // Before it is sent: whoever wakes up may end itself at once, and its end is judged by this.
        {
            let silent = lock(&self.silent)[server].filter(|silence| !silence.is_past());
            let (since, longest) = &mut lock(&self.frozen)[server];
            match signal {
                Signal::Stop => *since = since.or(silent.map(|s| s.since)).or(Some(Instant::now())),
                Signal::Continue => {
                    let stood = since.take().map_or(Duration::ZERO, |since| since.elapsed());
                    *longest = stood.max(*longest);
                }
                _ => {}
            }
        }
        if let Some(pid) = pid {
            processes::signal(pid, signal);
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
