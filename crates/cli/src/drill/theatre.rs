//! Drills on the pages of `firebreak demo`: each is played on a world, an engine and a database of its own, while the demo's wait.
//!
//! ```text
//!  start ─▶ world set up, quick to shortly before the trouble ─▶ on the stage ─▶ over (scored) ─▶ left
//!                                                                   └──── given up ────────────────┘
//! ```
//!
//! Head-less drills (`firebreak drill`) test a runbook; here people play, and may do whatever they think fits. So nothing is held
//! against what the file expects of its runbook: the score is what customers saw, beside what they would have seen had nobody acted.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use domain::drill::{Curve, Played, Player, Reality, Score};
use domain::runbook::Mode;
use domain::{Actor, Timestamp};
use engine::{Engine, Library};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use server::{DrillError, Drills, Offer, Playing, Stage};
use sim::{Sample, Sim, World};
use store::PgPool;
use store::pages::RunFilter;
use store::private::TestDb;
use tokio::sync::watch;
use uuid::Uuid;

use super::spec::Drill;
use super::{AFTERWARDS, HASTE, auto, delta, storm, wait_until};
use crate::app::{self, End, Plan};
use crate::simulated::{self, SimClock, inventory};
use crate::{files, runbook};

/// Curves are kept in steps of so many seconds.
const GRAIN: i64 = 15;
/// They begin so long before the trouble.
const BEFORE: i64 = 60;
/// More runs than a drill has.
const RUNS: i64 = 100;
/// The world that waits goes on as slowly as this: one that stands still would have its sleepers never sleep.
const MEANWHILE: f64 = 1.0;
/// How often it is looked whether a drill is over (wall time).
const LOOK: Duration = Duration::from_millis(500);

/// What a guest's pages are like.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) pool: PgPool,
    pub(crate) clock: sim::Clock,
    pub(crate) stage: Stage,
    pub(crate) public_url: String,
    pub(crate) requests_per_minute: u32,
    /// Simulated seconds per second.
    pub(crate) speed: f64,
    /// When the process is to end, and streams of the guest with it.
    pub(crate) end: End,
}

/// Plays drills, one at a time.
#[derive(Clone)]
pub(crate) struct Theatre(Arc<Inner>);

struct Inner {
    house: House,
    on: Mutex<Option<Arc<Act>>>,
    /// One of start, end and leave at a time.
    turn: tokio::sync::Mutex<()>,
}

/// The drill that is on.
struct Act {
    id: Uuid,
    drill: Drill,
    player: Player,
    by: String,
    sim: Sim,
    engine: Engine,
    pool: PgPool,
    trigger: Timestamp,
    nobody: Curve,
    /// The same, sample by sample.
    without: Vec<Sample>,
    over: watch::Sender<bool>,
    ending: watch::Sender<bool>,
    secrets: PathBuf,
    // Last: dropped after what uses it.
    _db: TestDb,
}

impl std::fmt::Debug for Theatre {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Theatre").field("on", &self.on().map(|act| act.id)).finish()
    }
}

impl Theatre {
    pub(crate) fn new(house: House) -> Self {
        Self(Arc::new(Inner { house, on: Mutex::default(), turn: tokio::sync::Mutex::default() }))
    }

    /// Ends with the process: what is still on is taken away.
    pub(crate) async fn close(&self) {
        if let Some(act) = self.on() {
            let left = self.leave(act.id, &Actor::system("demo")).await;
            if let Err(e) = left {
                tracing::warn!("the drill that was on: {e}");
            }
        }
    }

    fn on(&self) -> Option<Arc<Act>> {
        self.0.on.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn that(&self, id: Uuid) -> Result<Arc<Act>, DrillError> {
        self.on().filter(|act| act.id == id).ok_or(DrillError::NotOn)
    }

    fn home_now(&self) -> Timestamp {
        self.0.house.clock.now()
    }

    async fn begin(&self, name: &str, player: Player, by: &Actor) -> Result<Uuid, DrillError> {
        domain::drill::may_play(by)?;
        let _turn = self.0.turn.lock().await;
        if let Some(act) = self.on() {
            return Err(DrillError::On(act.drill.title.clone()));
        }
        let drill =
            known().find(|drill| drill.drill == name).ok_or_else(|| DrillError::Unknown(name.to_owned()))?;
        if let Some(why) = why_not(&drill) {
            return Err(DrillError::NotHere(why));
        }
        let id = Uuid::now_v7();
        let begun = store::drills::Begun { id, name, title: &drill.title, player, at: self.home_now() };
        store::drills::begin(&self.0.house.pool, begun, by).await?;
        match Box::pin(self.set_up(id, drill, player, by)).await {
            Ok(act) => {
                let act = Arc::new(act);
                *self.0.on.lock().unwrap_or_else(PoisonError::into_inner) = Some(act.clone());
                tokio::spawn(self.clone().until_over(act));
                Ok(id)
            }
            Err(e) => {
                store::drills::end(&self.0.house.pool, id, None, "demo", self.home_now()).await?;
                Err(DrillError::Failed(format!("{e:#}")))
            }
        }
    }

    /// Its world, shortly before the trouble, with an engine that looks on, and its pages on the stage.
    async fn set_up(&self, id: Uuid, drill: Drill, player: Player, by: &Actor) -> anyhow::Result<Act> {
        let house = &self.0.house;
        let world = drill.set(World::incident_2024_05_07());
        let options = sim::Options::default();
        let trigger = world.start + delta(drill.trigger);
        let db = TestDb::new().await.context("the drill's own database")?;
        let pool = db.pool().clone();
        let sim = Sim::start(world.clone(), options.clone()).await?;
        let secrets = files::state_folder().join(format!("drill-secrets-{id}"));
        let inventory = inventory(&sim.world_info(), &secrets)?;
        sim.allow_only(sim::EVERYBODY, &runbook::least_privilege(&[], &inventory).await?)?;
        // Only now: what was worked out above took seconds, and would have been an hour.
        let clock = sim.clock();
        clock.set_speed(HASTE);
        wait_until(&clock, trigger - auto::BEFORE).await;
        clock.set_speed(house.speed);
        let settings = engine::Settings::default();
        let engine = Box::pin(app::launch(Plan {
            channels: domain::notice::Channels::new(),
            pool: pool.clone(),
            inventory,
            clock: Arc::new(SimClock(clock.clone())),
            actions: simulated::actions(sim.endpoint(), &secrets)?,
            shelf: Library::default(),
            runbooks: Some(files::runbooks(None)?),
            engine: engine::Settings {
                triage: match player {
                    Player::Firebreak => auto::triage(Mode::Auto),
                    Player::People => settings.triage.clone(),
                },
                lease: simulated::ALONE,
                ..settings
            },
        }))
        .await?;
        auto::watch(&engine);
        tokio::spawn(storm::deliver(pool.clone(), clock, trigger, drill.alerts.clone()));
        let span = drill.trigger + drill.watch;
        let without =
            tokio::task::spawn_blocking(move || sim::counterfactual(&world, &options, span)).await??;
        let over = watch::Sender::new(false);
        let (ending, heard) = watch::channel(false);
        tokio::spawn(end_with(house.end.clone(), ending.clone()));
        let guest = server::Settings {
            public_url: house.public_url.clone(),
            secure_cookies: false,
            environment: Some("drill".into()),
            simulated: true,
            drills: Some(Arc::new(self.clone())),
            drill: Some(server::OnStage { id, title: drill.title.clone(), over: over.subscribe() }),
            people: Some(house.pool.clone()),
            proxy: None,
            oidc: None,
            requests_per_minute: house.requests_per_minute,
            hooks: server::Hooks::default(),
            slack: None,
            watches_errors: true,
            ending: heard,
        };
        house.clock.set_speed(MEANWHILE);
        house.stage.put(Some(server::router(engine.clone(), guest)));
        let nobody = curve(&without, &drill.symptom.cluster, trigger);
        let by = by.name().to_owned();
        Ok(Act {
            id,
            drill,
            player,
            by,
            sim,
            engine,
            pool,
            trigger,
            nobody,
            without,
            over,
            ending,
            secrets,
            _db: db,
        })
    }

    /// Waits until it came to its end by itself, and scores it.
    async fn until_over(self, act: Arc<Act>) {
        let (mut told, mut left) = (act.over.subscribe(), act.ending.subscribe());
        loop {
            tokio::select! {
                _ = told.wait_for(|over| *over) => return,
                _ = left.wait_for(|left| *left) => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            match act.is_over().await {
                Ok(false) => {}
                Ok(true) => {
                    let _turn = self.0.turn.lock().await;
                    match self.score(&act, "the drill").await {
                        Ok(()) => return,
                        Err(e) => tracing::warn!("a drill that is over is not scored yet: {e}"),
                    }
                }
                Err(e) => tracing::warn!("whether the drill is over cannot be told: {e}"),
            }
        }
    }

    /// Writes down how it went, once. In turn with start and leave.
    async fn score(&self, act: &Act, by: &str) -> Result<(), DrillError> {
        if *act.over.borrow() {
            return Ok(());
        }
        let score = act.scored().await?;
        store::drills::end(&self.0.house.pool, act.id, Some(&score), by, self.home_now()).await?;
        act.over.send_replace(true);
        // What happens from here on counts for nothing: people only look around.
        act.sim.clock().set_speed(MEANWHILE);
        Ok(())
    }

    async fn take_away(&self, id: Uuid, by: &Actor) -> Result<(), DrillError> {
        domain::drill::may_play(by)?;
        let _turn = self.0.turn.lock().await;
        let act = self.that(id)?;
        self.0.house.stage.put(None);
        self.0.house.clock.set_speed(self.0.house.speed);
        *self.0.on.lock().unwrap_or_else(PoisonError::into_inner) = None;
        store::drills::end(&self.0.house.pool, id, None, by.name(), self.home_now()).await?;
        act.ending.send_replace(true);
        act.engine.shut_down().await;
        act.pool.close().await;
        if let Err(e) = std::fs::remove_dir_all(&act.secrets) {
            tracing::warn!("{}: {e}", act.secrets.display());
        }
        Ok(())
    }
}

impl Drills for Theatre {
    fn offers(&self) -> Vec<Offer> {
        let mut offers: Vec<Offer> = known()
            .map(|drill| Offer {
                why_not: why_not(&drill),
                name: drill.drill,
                title: drill.title,
                about: drill.about,
                real: drill.real.is_some(),
            })
            .collect();
        // What really happened first, and what can be played before what cannot.
        offers.sort_by_key(|offer| (!offer.real, offer.why_not.is_some(), offer.name.clone()));
        offers
    }

    fn playing(&self) -> Option<Playing> {
        let act = self.on()?;
        Some(Playing {
            id: act.id,
            title: act.drill.title.clone(),
            player: act.player,
            by: act.by.clone(),
            over: *act.over.borrow(),
            now: act.sim.clock().now(),
            trigger: act.trigger,
            cluster: act.drill.symptom.cluster.clone(),
            here: curve(&act.sim.customers(), &act.drill.symptom.cluster, act.trigger),
            nobody: act.nobody.clone(),
        })
    }

    fn start<'a>(
        &'a self,
        name: &'a str,
        player: Player,
        by: &'a Actor,
    ) -> BoxFuture<'a, Result<Uuid, DrillError>> {
        // On a thread of its own, because what works out the policy need not move between threads, and so cannot.
        let (theatre, runtime) = (self.clone(), tokio::runtime::Handle::current());
        let (name, by) = (name.to_owned(), by.clone());
        async move {
            let begun = move || runtime.block_on(theatre.begin(&name, player, &by));
            let begun = tokio::task::spawn_blocking(begun).await;
            begun.unwrap_or_else(|e| Err(DrillError::Failed(e.to_string())))
        }
        .boxed()
    }

    fn end<'a>(&'a self, id: Uuid, by: &'a Actor) -> BoxFuture<'a, Result<(), DrillError>> {
        async move {
            domain::drill::may_play(by)?;
            let _turn = self.0.turn.lock().await;
            self.score(&*self.that(id)?, by.name()).await
        }
        .boxed()
    }

    fn leave<'a>(&'a self, id: Uuid, by: &'a Actor) -> BoxFuture<'a, Result<(), DrillError>> {
        self.take_away(id, by).boxed()
    }
}

impl Act {
    /// The samples of the customers whom it is about.
    fn seen(&self) -> Vec<Sample> {
        let cluster = &self.drill.symptom.cluster;
        self.sim.customers().into_iter().filter(|s| s.cluster == *cluster && s.at >= self.trigger).collect()
    }

    fn hurts(&self, sample: &Sample) -> bool {
        sample.error_share() >= self.drill.symptom.gone_below
    }

    /// Over, once nothing runs any more: nobody would watch it longer; or the symptom came, and has been gone for a while.
    async fn is_over(&self) -> Result<bool, DrillError> {
        let open = RunFilter { open: true, ..RunFilter::default() };
        if !store::pages::runs(&self.pool, &open, 1).await?.is_empty() {
            return Ok(false);
        }
        let now = self.sim.clock().now();
        let last_bad = self.seen().into_iter().rev().find(|s| self.hurts(s)).map(|s| s.at);
        let healed = last_bad.is_some_and(|at| now - at >= delta(AFTERWARDS));
        Ok(healed || now > self.trigger + delta(self.drill.watch))
    }

    async fn scored(&self) -> Result<Score, DrillError> {
        let since = |at: Timestamp| (at - self.trigger).num_seconds();
        let until = self.sim.clock().now();
        let seen = self.seen();
        let cluster = &self.drill.symptom.cluster;
        let last_bad = seen.iter().rev().find(|s| self.hurts(s)).map(|s| s.at);
        let well = seen.last().is_some_and(|s| !self.hurts(s));
        let recovered_at = last_bad.filter(|at| well && until - *at >= TimeDelta::seconds(GRAIN));
        let changed: Vec<_> =
            self.sim.ledger().into_iter().filter(|e| e.mutating && e.effect.is_some()).collect();
        let first_change = changed.first().map(|e| e.at);
        let mut runs = store::pages::runs(&self.pool, &RunFilter::default(), RUNS).await?;
        runs.sort_by_key(|run| run.created_at);
        // The run that made the first change is the one that was begun last before it.
        let decided = first_change
            .and_then(|at| runs.iter().rev().find(|run| run.created_at <= at))
            .map(|run| run.created_at);
        let without: Vec<&Sample> = self
            .without
            .iter()
            .filter(|s| s.cluster == *cluster && s.at >= self.trigger && s.at <= until)
            .collect();
        let errors = |samples: &mut dyn Iterator<Item = f64>| samples.sum::<f64>().round();
        let failed_requests = errors(&mut seen.iter().map(|s| s.errors));
        let failed_requests_nobody = errors(&mut without.iter().map(|s| s.errors));
        let reality = self.drill.real.as_ref().map(|real| Reality {
            source: real.source.clone(),
            error_share_peak: real.error_share_peak,
            seconds_to_decision: real.seconds_trigger_to_decision,
            seconds_to_recovered: real.seconds_trigger_to_decision + real.seconds_decision_to_recovered,
        });
        let real = reality.as_ref().map(|real| {
            let over = real.seconds_to_recovered;
            let after = [(over, 0.0), (over + 2 * BEFORE, 0.0)];
            self.nobody.iter().filter(|(s, _)| *s < over).copied().chain(after).collect()
        });
        let mut remarks = Vec::new();
        if last_bad.is_none() {
            remarks.push("It was ended before customers noticed anything.".to_owned());
        } else if recovered_at.is_none() {
            remarks.push(format!("Requests of {cluster} still fail."));
        }
        if failed_requests > failed_requests_nobody * 1.001 + 1.0 {
            remarks.push("More requests failed than had nobody acted.".into());
        }
        Ok(Score {
            cluster: cluster.clone(),
            recovered: recovered_at.is_some(),
            seconds_to_recovered: recovered_at.map(since),
            seconds_to_decision: decided.map(since),
            seconds_to_first_change: first_change.map(since),
            error_share_peak: seen.iter().map(Sample::error_share).fold(0.0, f64::max),
            failed_requests,
            failed_requests_nobody,
            changes: changed.len(),
            runs: runs
                .into_iter()
                .map(|run| Played {
                    at_s: since(run.created_at),
                    title: run.title,
                    state: run.state,
                    by: run.requested_by,
                })
                .collect(),
            reality,
            here: curve(&self.sim.customers(), cluster, self.trigger),
            nobody: self.nobody.clone(),
            real: real.unwrap_or_default(),
            remarks,
        })
    }
}

/// Ends the streams of a guest when the process is to end: nobody leaves its drill before they have.
async fn end_with(end: End, ending: watch::Sender<bool>) {
    tokio::select! {
        () = end.asked() => { ending.send_replace(true); }
        () = ending.closed() => {}
    }
}

/// The drills that come with this binary.
fn known() -> impl Iterator<Item = Drill> {
    // Tests play them all: one that cannot be read is found there.
    files::drills().into_iter().filter_map(|text| Drill::parse(text).ok())
}

/// Why people cannot play it.
fn why_not(drill: &Drill) -> Option<String> {
    (!drill.kills.is_empty())
        .then(|| format!("Firebreak's own process is killed in the middle; play it with `firebreak drill runbooks/drills/{}.yaml --act`", drill.drill))
}

/// The share of a cluster's requests that failed, in steps, from shortly before the trouble.
fn curve(samples: &[Sample], cluster: &str, trigger: Timestamp) -> Curve {
    let mut steps: std::collections::BTreeMap<i64, (f64, f64)> = std::collections::BTreeMap::new();
    for sample in samples.iter().filter(|s| s.cluster == cluster) {
        let step = (sample.at - trigger).num_seconds().div_euclid(GRAIN) * GRAIN;
        if step >= -BEFORE {
            let (errors, requests) = steps.entry(step).or_default();
            *errors += sample.errors;
            *requests += sample.requests;
        }
    }
    steps
        .into_iter()
        .filter(|(_, (_, all))| *all > 0.0)
        .map(|(step, (errors, all))| (step, errors / all))
        .collect()
}
