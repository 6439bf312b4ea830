//! The door to everything that holds Firebreak back: the kill switch, freezes, targets taken by hand, release by force.
//!
//! Needs no running engine, so that a person can stop everything from a terminal while no server answers. Each act names its
//! person and a reason, and is audited in the statement that does it.
//!
//! Responders and above may do all of this, but releasing what somebody else holds, which is an admin's.
//!
//! What is held back must be there: whoever mistypes a name at night must not be told that it is stopped, or theirs. What was set once
//! is released by its name, whatever is there by then.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::brake::{EVERYTHING, Freeze, KillSwitch, calendar};
use domain::inventory::Inventory;
use domain::run::State;
use domain::runbook::suggest;
use domain::token::{Deed, OutOfScope};
use domain::{Actor, Clock, Role, Timestamp};
use store::brakes::Imported;
use store::locks::{Forced, Held};
use store::{PgPool, StoreError};
use uuid::Uuid;

use crate::Topic;
use crate::aside::aside;
use crate::bell::ring_everywhere;

/// So many freezes are listed.
const LISTED: i64 = 500;

/// The door.
#[derive(Clone)]
pub struct Brakes {
    pool: PgPool,
    clock: Arc<dyn Clock>,
    known: Known,
    /// For how long after its deadline a call may still take effect.
    window: Duration,
}

/// The names of what can be held back.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Runbooks, beside those that have ever run; any, where nothing is said.
    pub runbooks: Option<Vec<String>>,
    /// The locks of the inventory, such as `cluster:shard-a`. Of other kinds there may be any.
    pub targets: Vec<String>,
}

impl Known {
    /// With the targets of an inventory.
    pub fn of(runbooks: Option<Vec<String>>, inventory: &Inventory) -> Self {
        let fleets = inventory.fleets.iter().map(|f| format!("fleet:{}", f.id));
        let targets = fleets.chain(inventory.clusters.iter().map(|c| format!("cluster:{}", c.id))).collect();
        Self { runbooks, targets }
    }

    /// Refuses a lock of a kind that the inventory has, by a name that it does not have.
    pub fn has_target(&self, target: &str) -> Result<(), BrakeError> {
        let kind = |name: &str| name.split_once(':').map(|(kind, _)| kind.to_owned());
        let mut alike = self.targets.iter().filter(|known| kind(known) == kind(target)).peekable();
        if alike.peek().is_none() || self.targets.iter().any(|known| known == target) {
            return Ok(());
        }
        let names = alike.map(String::as_str);
        Err(unknown("target", target, "in the inventory", names))
    }
}

fn unknown<'a>(what: &str, name: &str, place: &str, known: impl Iterator<Item = &'a str>) -> BrakeError {
    let known: Vec<&str> = known.collect();
    let near = suggest(name, known.iter().copied());
    let near = near.unwrap_or_else(|| format!("there are: {}", known.join(", ")));
    BrakeError::BadName(format!("there is no {what} `{name}` {place}, and nothing was done; {near}"))
}

/// Why a brake was not set or released.
#[derive(Debug, thiserror::Error)]
pub enum BrakeError {
    /// Their role does not allow it.
    #[error("this takes {}, and you are {}", needs.one(), is.one())]
    NotAllowed {
        /// The least role that may.
        needs: Role,
        /// Theirs.
        is: Role,
    },
    /// The token is not good for it.
    #[error(transparent)]
    OutOfScope(#[from] OutOfScope),
    /// Nobody would know why.
    #[error("this needs a reason: it is read by whoever meets it later")]
    NoReason,
    /// A name that names nothing.
    #[error("{0}")]
    BadName(String),
    /// A time that makes no sense.
    #[error("{0}")]
    BadTime(String),
    /// The calendar is not understood; nothing of it was taken.
    #[error("the calendar is not understood, and nothing of it was taken: {0}")]
    Calendar(#[from] calendar::NotUnderstood),
    /// There is nothing to release.
    #[error("{0}")]
    NotThere(String),
    /// Somebody holds it.
    #[error("{0}")]
    Held(Box<Held>),
    /// A run that moves keeps its locks.
    #[error(
        "run {0} is not waiting for a person, or a change of it is under way, so its locks are not released; pause it, and let the change end (one that nobody drives any more may take effect for some minutes)"
    )]
    Moving(Uuid),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BrakeError {
    /// What programs branch on, whichever door it comes out of; the database has codes of its own.
    pub fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotAllowed { .. } => "not_allowed",
            Self::OutOfScope(_) => "out_of_scope",
            Self::NoReason => "no_reason",
            Self::BadName(_) => "bad_name",
            Self::BadTime(_) => "bad_time",
            Self::Calendar(_) => "bad_calendar",
            Self::NotThere(_) => "not_there",
            Self::Held(_) => "held",
            Self::Moving(_) => "run_is_moving",
            Self::Store(_) => return None,
        })
    }
}

/// Everything that is on.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct InForce {
    /// Switches.
    pub switches: Vec<KillSwitch>,
    /// Freezes that are not over, those to come included.
    pub freezes: Vec<Freeze>,
    /// What is locked, by runs and by people.
    pub locks: Vec<Held>,
}

impl Brakes {
    /// On a database.
    pub fn new(pool: PgPool, clock: Arc<dyn Clock>, known: Known, window: Duration) -> Self {
        Self { pool, clock, known, window }
    }

    /// Whose changes are to be held back. A runbook whose file is gone may have runs that go on.
    async fn known_scope(&self, runbook: Option<&str>) -> Result<String, BrakeError> {
        let scope = scope(runbook)?;
        let Some(known) = &self.known.runbooks else { return Ok(scope) };
        let there = scope == EVERYTHING
            || known.contains(&scope)
            || store::brakes::has_run(&self.pool, &scope).await?;
        if there {
            Ok(scope)
        } else {
            Err(unknown("runbook", &scope, "here", known.iter().map(String::as_str)))
        }
    }

    /// Clock time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Everything that is on now.
    pub async fn in_force(&self) -> Result<InForce, BrakeError> {
        let at = self.clock.now();
        Ok(InForce {
            switches: store::brakes::switches(&self.pool).await?,
            freezes: store::brakes::freezes(&self.pool, at, LISTED).await?,
            locks: store::locks::all(&self.pool, at).await?,
        })
    }

    /// Stops all changes, or those of one runbook. `false` when that was so already.
    pub async fn stop(&self, runbook: Option<&str>, by: &Actor, reason: &str) -> Result<bool, BrakeError> {
        permit(by, Role::Responder)?;
        let switch = KillSwitch {
            scope: self.known_scope(runbook).await?,
            by: by.name().to_owned(),
            reason: said(reason, by)?,
            since: self.clock.now(),
        };
        let on = store::brakes::switch_on(&self.pool, &switch).await?;
        self.ring().await;
        Ok(on)
    }

    /// Allows changes again. Runs that the switch has stopped stay paused until each is resumed.
    pub async fn allow(&self, runbook: Option<&str>, by: &Actor, reason: &str) -> Result<(), BrakeError> {
        permit(by, Role::Responder)?;
        let (scope, reason) = (scope(runbook)?, said(reason, by)?);
        let off = store::brakes::switch_off(&self.pool, &scope, by.name(), &reason, self.clock.now()).await?;
        self.ring().await;
        if off { Ok(()) } else { Err(BrakeError::NotThere("that kill switch is not on".into())) }
    }

    /// Enters a freeze.
    pub async fn freeze(
        &self,
        runbook: Option<&str>,
        (starts, ends): (Timestamp, Timestamp),
        by: &Actor,
        reason: &str,
    ) -> Result<Freeze, BrakeError> {
        permit(by, Role::Responder)?;
        let now = self.clock.now();
        if ends <= starts || ends <= now {
            return Err(BrakeError::BadTime("a freeze must end after it begins, and not in the past".into()));
        }
        let freeze = Freeze {
            id: Uuid::now_v7(),
            scope: self.known_scope(runbook).await?,
            starts,
            ends,
            reason: said(reason, by)?,
            by: by.name().to_owned(),
            uid: None,
        };
        store::brakes::add_freeze(&self.pool, &freeze, now).await?;
        self.ring().await;
        Ok(freeze)
    }

    /// Lifts a freeze.
    pub async fn lift(&self, freeze: Uuid, by: &Actor, reason: &str) -> Result<(), BrakeError> {
        permit(by, Role::Responder)?;
        let lifted =
            store::brakes::lift_freeze(&self.pool, freeze, by.name(), &said(reason, by)?, self.clock.now())
                .await?;
        self.ring().await;
        if lifted { Ok(()) } else { Err(BrakeError::NotThere("there is no such freeze (any more)".into())) }
    }

    /// Imports freezes from an iCalendar file; again and again the same file changes nothing.
    pub async fn import(
        &self,
        runbook: Option<&str>,
        text: &str,
        zone: Option<&str>,
        by: &Actor,
    ) -> Result<Imported, BrakeError> {
        permit(by, Role::Responder)?;
        let now = self.clock.now();
        let scope = self.known_scope(runbook).await?;
        let (text, zone) = (text.to_owned(), zone.map(str::to_owned));
        let events = aside(move || calendar::read(&text, zone.as_deref(), now)).await?;
        let imported = store::brakes::import_freezes(&self.pool, &events, &scope, by.name(), now).await?;
        self.ring().await;
        Ok(imported)
    }

    /// "I am on it": nobody else starts a run on this target until it is given back, or until then.
    pub async fn take(
        &self,
        target: &str,
        by: &Actor,
        reason: &str,
        until: Option<Timestamp>,
    ) -> Result<(), BrakeError> {
        permit(by, Role::Responder)?;
        let (target, now) = (lock_name(target)?, self.clock.now());
        self.known.has_target(target)?;
        if until.is_some_and(|until| until <= now || until - now > TimeDelta::days(366)) {
            return Err(BrakeError::BadTime("a lock ends in the future, and within a year".into()));
        }
        let held = store::locks::take(&self.pool, target, by.name(), &said(reason, by)?, now, until).await?;
        self.ring().await;
        held.map_or(Ok(()), |held| Err(BrakeError::Held(Box::new(held))))
    }

    /// Gives a target back. Releasing somebody else's needs a reason.
    pub async fn give_back(&self, target: &str, by: &Actor, reason: Option<&str>) -> Result<(), BrakeError> {
        permit(by, Role::Responder)?;
        let target = lock_name(target)?;
        let reason = reason.map(str::trim).filter(|r| !r.is_empty());
        let others = reason.filter(|_| by.role() >= Role::Admin);
        let freed = store::locks::release(&self.pool, target, by.name(), others, self.clock.now()).await?;
        self.ring().await;
        match freed {
            Some(_) => Ok(()),
            None if reason.is_some() && others.is_none() => {
                Err(BrakeError::NotAllowed { needs: Role::Admin, is: by.role() })
            }
            None if reason.is_some() => {
                Err(BrakeError::NotThere(format!("nobody has taken `{target}` by hand")))
            }
            None => Err(BrakeError::NotThere(format!(
                "you have not taken `{target}` by hand; to release somebody else's lock, give a reason"
            ))),
        }
    }

    /// Releases a lock of a run that waits for a person. Others may start on the target; the run takes it back before it
    /// moves again, or stays where it is.
    pub async fn force(
        &self,
        target: &str,
        run_id: Uuid,
        by: &Actor,
        reason: &str,
    ) -> Result<(), BrakeError> {
        permit(by, Role::Admin)?;
        let target = lock_name(target)?;
        let now = self.clock.now();
        // One step waits for a person, and another may be making its change, or its own call is still on its way: to let others at
        // the target is to let them meet, also where somebody has left that call as it is. A call that nobody drives any more is over
        // when it can take effect no more.
        let journal = store::runs::journal(&self.pool, run_id).await?;
        if let Ok(state) = State::replay(&journal) {
            let open = state.nodes().filter(|(_, node)| node.has_open_intent());
            let mut intents = open.filter_map(|(_, node)| node.intent.as_ref());
            let left = state.lands_before(self.window).is_some_and(|safe| now < safe);
            if left || intents.any(|intent| now < intent.lands_before(self.window)) {
                return Err(BrakeError::Moving(run_id));
            }
        }
        let forced =
            store::locks::release_by_force(&self.pool, target, run_id, by.name(), &said(reason, by)?, now)
                .await?;
        self.ring().await;
        match forced {
            Forced::Released => Ok(()),
            Forced::NotHeld => Err(BrakeError::NotThere(format!("run {run_id} does not hold `{target}`"))),
            Forced::Moving => Err(BrakeError::Moving(run_id)),
        }
    }

    async fn ring(&self) {
        ring_everywhere(&self.pool, Topic::Brakes).await;
    }
}

fn permit(by: &Actor, needs: Role) -> Result<(), BrakeError> {
    let is = by.role();
    if is < needs {
        return Err(BrakeError::NotAllowed { needs, is });
    }
    Ok(by.within_scope(Deed::Other)?)
}

/// What is written down; of a token, whose it was is known, and which one is told here.
fn said(reason: &str, by: &Actor) -> Result<String, BrakeError> {
    match reason.trim() {
        "" => Err(BrakeError::NoReason),
        reason if reason.len() > 2000 => Err(BrakeError::BadName("a reason has at most 2000 bytes".into())),
        reason => {
            Ok(by.token().map_or_else(|| reason.to_owned(), |via| format!("{reason} (token {})", via.name)))
        }
    }
}

fn scope(runbook: Option<&str>) -> Result<String, BrakeError> {
    match runbook.map(str::trim).filter(|name| !name.is_empty()) {
        None | Some(EVERYTHING) => Ok(EVERYTHING.to_owned()),
        Some(name) if name.len() <= 60 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => {
            Ok(name.to_owned())
        }
        Some(name) => Err(BrakeError::BadName(format!("`{name}` is not a name of a runbook"))),
    }
}

fn lock_name(target: &str) -> Result<&str, BrakeError> {
    let target = target.trim();
    let sound = target.len() <= 200
        && target.split_once(':').is_some_and(|(kind, id)| !kind.is_empty() && !id.is_empty());
    if sound {
        Ok(target)
    } else {
        Err(BrakeError::BadName(format!(
            "`{target}` is not the name of a lock; write it as runbooks do, such as `cluster:shard-a` or `fleet:proxysql-us`"
        )))
    }
}
