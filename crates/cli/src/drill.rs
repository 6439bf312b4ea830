//! `firebreak drill`: plays an incident head-less, with a private Postgres, a simulated AWS and an engine in this process,
//! and scores what happened against what must hold and against what really happened.

mod auto;
mod pace;
mod process;
mod score;
mod spec;
mod storm;
pub(crate) mod theatre;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::TimeDelta;
use domain::plan::Verdict;
use domain::run::{Ask, Entry, Record, State};
use domain::runbook::Mode;
use domain::{Actor, Role, Timestamp};
use engine::{Engine, Library, StartError, StartRequest};
use serde_json::{Map, Value};
use sim::{Sim, World};
use store::PgPool;
use store::pages::RunRow;
use store::private::TestDb;
use uuid::Uuid;

use crate::app::Plan;
use crate::files;
use crate::runbook;
use crate::simulated::{self, SimClock, inventory};
use crate::terminal::say;
use pace::Pace;
use process::Process;
use score::{Acted, Played, Score};
use spec::Drill;

/// `firebreak drill`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The drill, such as runbooks/drills/2024-05-07.yaml (embedded ones are found by that path too)
    file: PathBuf,
    /// Print the score as JSON
    #[arg(long)]
    json: bool,
    /// Simulated seconds per second while the runbook runs: 60; with --auto 20, as the login prober looks on as well
    #[arg(long, value_parser = crate::simulated::speed)]
    speed: Option<f64>,
    /// Start the runbook at the moment at which people decided in reality
    #[arg(long)]
    act: bool,
    /// Start the runbook so long after the trigger, such as 3m
    #[arg(long, value_name = "DURATION", value_parser = spec::duration)]
    act_after: Option<Duration>,
    /// Nobody is at the keyboard: Firebreak sees it, decides and acts by itself, every trigger in mode `auto`
    #[arg(long, conflicts_with_all = ["act", "act_after"])]
    auto: bool,
    /// Nobody acts: for a quarter of an hour Firebreak writes down what it would have done, every trigger in mode `shadow`
    #[arg(long, conflicts_with_all = ["act", "act_after", "auto"])]
    shadow: bool,
    /// Seed of what chance decides
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Time that nobody looks at passes this fast.
const HASTE: f64 = 600.0;
/// A run that has not ended by then (clock time) is judged as it stands.
const PATIENCE: TimeDelta = TimeDelta::hours(2);
/// A dead engine's runs are taken over after so long (wall time).
const LEASE: Duration = Duration::from_secs(3);
/// The symptom is watched for so long after the run has ended.
const AFTERWARDS: Duration = Duration::from_secs(120);

/// Plays the drill; the exit code says whether everything that must hold did.
pub(crate) async fn drill(args: Args) -> anyhow::Result<ExitCode> {
    let drill =
        Drill::parse(&files::drill(&args.file)?).with_context(|| format!("{}", args.file.display()))?;
    let world = match drill.world.as_str() {
        "incident-2024-05-07" => drill.set(World::incident_2024_05_07()),
        other => bail!("there is no world `{other}`; there is: incident-2024-05-07"),
    };
    let speed = args.speed.unwrap_or(if args.auto || args.shadow { 20.0 } else { 60.0 });
    let who = match args.act_after.or(args.act.then_some(drill.act.after)) {
        Some(after) => Who::People(after),
        None if args.auto => Who::Firebreak,
        None if args.shadow => Who::Shadow,
        None => Who::Nobody,
    };
    let score = Box::pin(play(&drill, world, who, speed, args.seed)).await?;
    say(if args.json { serde_json::to_string_pretty(&score)? } else { score.to_string() });
    Ok(if score.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Nobody.
    Nobody,
    /// People, so long after the trigger.
    People(Duration),
    /// Firebreak, by its triggers.
    Firebreak,
    /// Nobody; Firebreak writes down what it would have done.
    Shadow,
}

impl Who {
    /// Does Firebreak look and judge by itself?
    fn judges(self) -> bool {
        matches!(self, Self::Firebreak | Self::Shadow)
    }
}

async fn play(drill: &Drill, world: World, who: Who, speed: f64, seed: u64) -> anyhow::Result<Score> {
    let state = files::state_folder();
    let db = TestDb::new().await.context("the drill's own database")?;
    let pool = db.pool().clone();
    let options = sim::Options { speed: 1.0, seed, ..sim::Options::default() };
    let sim = Sim::start(world.clone(), options.clone()).await?;
    let clock = sim.clock();
    let pace = Pace::of(clock.clone());
    let trigger = world.start + delta(drill.trigger);

    let mut storm_told = None;
    let acted = match who {
        Who::Nobody => {
            pace.at_most(HASTE);
            wait_until(&clock, trigger + delta(drill.watch)).await;
            None
        }
        Who::People(_) | Who::Firebreak | Who::Shadow => {
            // The drill rehearses the permissions, too: the engine may do what the runbook's own policy allows; when it must
            // choose by itself, what all of them do.
            let secrets = state.join(format!("drill-secrets-{}", std::process::id()));
            let inventory = inventory(&sim.world_info(), &secrets)?;
            let own = std::slice::from_ref(&drill.act.runbook);
            let allowed = if who.judges() { &[] } else { own };
            sim.allow_only(sim::EVERYBODY, &runbook::least_privilege(allowed, &inventory).await?)?;
            let runbooks = files::runbooks(None)?;
            if who.judges() {
                pace.at_most(HASTE);
                wait_until(&clock, trigger - auto::BEFORE).await;
                pace.at_most(speed);
            }
            let actions = simulated::actions(sim.endpoint(), &secrets)?;
            let settings = settings(drill, who);
            let plan = |pool| Plan {
                channels: domain::notice::Channels::new(),
                pool,
                inventory: inventory.clone(),
                clock: Arc::new(SimClock(clock.clone())),
                actions: actions.clone(),
                shelf: Library::default(),
                runbooks: Some(runbooks.clone()),
                engine: settings.clone(),
            };
            let mut process = Process::start(&db.url(), plan).await?;
            let storm =
                tokio::spawn(storm::deliver(pool.clone(), clock.clone(), trigger, drill.alerts.clone()));
            let started = match who {
                Who::People(after) => {
                    // Nothing passes while the engine is set up; and the last minutes before the decision pass at the speed of
                    // the run, so that it falls where it should also when the machine is busy.
                    pace.at_most(HASTE);
                    let alerts = drill.alerts.iter().map(|alerts| alerts.after).min().unwrap_or(after);
                    wait_until(&clock, trigger + delta(after.min(alerts)) - TimeDelta::minutes(2)).await;
                    pace.at_most(speed);
                    wait_until(&clock, trigger + delta(after)).await;
                    let (decided_at, inputs) = (clock.now(), sim.edit(|world| drill.act.inputs_in(world)));
                    let drill = drill.clone();
                    let run_id =
                        process.run(|engine| async move { act(&engine, &drill, inputs).await }).await?;
                    Some((decided_at, run_id))
                }
                Who::Shadow => {
                    let watch = |engine: Engine| async move {
                        auto::watch(&engine);
                        anyhow::Ok(())
                    };
                    process.run(watch).await?;
                    wait_until(&clock, trigger + auto::SHADOWED).await;
                    None
                }
                Who::Nobody | Who::Firebreak => {
                    let (clock, pace, patience) = (clock.clone(), pace.clone(), delta(drill.watch));
                    let decided = process
                        .run(|engine| async move {
                            auto::decided(&engine, &clock, &pace, trigger, patience).await
                        })
                        .await?;
                    auto::first_change(&sim, &sim.clock()).await;
                    decided
                }
            };
            pace.at_most(speed);
            let acted = match started {
                Some((decided_at, run_id)) => {
                    for (died, after) in drill.kills.iter().enumerate() {
                        wait_until(&clock, decided_at + delta(*after)).await;
                        // Who dies is the one that has the run.
                        driven(&pool, &clock, run_id, died, decided_at + PATIENCE).await?;
                        process.kill();
                        process = Process::start(&db.url(), plan).await?;
                    }
                    let run = watch(&pool, &clock, run_id, decided_at + PATIENCE).await?;
                    clock.sleep(AFTERWARDS).await;
                    Some(acted(&pool, process.engine(), run, decided_at).await?)
                }
                None => None,
            };
            let deliveries = storm.await.context("the alerts")??;
            if deliveries > 0 {
                storm_told = Some(storm::judged(&pool, deliveries).await?);
            }
            process.stop().await?;
            std::fs::remove_dir_all(&secrets).context("the drill's secrets")?;
            acted
        }
    };
    let until = clock.now();
    let with = sim.customers().into_iter().filter(|sample| sample.at <= until).collect();
    let without_action =
        sim::counterfactual(&world, &options, (until - world.start).to_std().unwrap_or_default())?;
    let critical_path = match (&drill.clairvoyant, &acted) {
        (Some(operator), Some(acted)) => {
            let begin = (acted.decided_at - world.start).to_std().unwrap_or_default();
            let how = sim::Replacement {
                fleet: operator.replaces.clone(),
                at_once: operator.at_once,
                drain: operator.drain,
            };
            sim::critical_path(&world, &options, begin, &how, Duration::from_secs(3600))?
        }
        _ => None,
    };
    let most_changing = sim.edit(|world| world.most_changing(&drill.symptom.cluster));
    let judged = match who {
        Who::Firebreak | Who::Shadow => Some(auto::judged(&pool, acted.as_ref(), until).await?),
        Who::Nobody | Who::People(_) => None,
    };
    let ledger = sim.ledger();
    let played = Played {
        trigger,
        until,
        with,
        without_action,
        ledger,
        most_changing,
        critical_path,
        speed,
        acted,
        judged,
        shadow: who == Who::Shadow,
        storm: storm_told,
    };
    sim.stop().await;
    pool.close().await;
    drop(db);
    Ok(score::score(drill, &played))
}

async fn act(engine: &Engine, drill: &Drill, inputs: Map<String, Value>) -> anyhow::Result<Uuid> {
    let runbook = &drill.act.runbook;
    let approved = engine.library().runbook(runbook).is_some_and(|runbook| runbook.approval().is_some());
    let plan = if approved { Some(engine.plan(runbook, &inputs).await?) } else { None };
    if let Some(Verdict::Stops { step, message }) = plan.as_ref().map(|plan| &plan.verdict)
        && drill.expect.outcome != "refused"
    {
        bail!("nobody could start it: by the plan it would stop at {step}: {message}");
    }
    let hash = plan.as_ref().map(|plan| plan.hash.clone());
    let request = StartRequest {
        runbook: runbook.clone(),
        inputs,
        by: Actor::system("drill"),
        reason: Some(drill.title.clone()),
        idem_key: Uuid::now_v7().to_string(),
        plan,
        overrides: domain::brake::Overrides::default(),
        confirm: None,
        wait: false,
    };
    let confirmed = |target| StartRequest { confirm: Some(target), ..request.clone() };
    let run_id = match engine.start(request.clone()).await {
        // What a person would have to type.
        Err(StartError::NotConfirmed { target, .. }) => engine.start(confirmed(target)).await?.run_id,
        started => started?.run_id,
    };
    if hash.is_some() {
        // The second person of the drill agrees at once, to whatever the plan says: what must stop it are its guards.
        let second = Actor::with_role("second person", Role::Approver);
        let ask = Ask::Approve { step: None, plan_hash: hash };
        engine.ask(run_id, Uuid::now_v7(), &second, &ask).await?;
    }
    Ok(run_id)
}

/// How the engine of a drill behaves.
fn settings(drill: &Drill, who: Who) -> engine::Settings {
    let settings = engine::Settings::default();
    engine::Settings {
        triage: match who {
            Who::Firebreak => auto::triage(Mode::Auto),
            Who::Shadow => auto::triage(Mode::Shadow),
            Who::Nobody | Who::People(_) => settings.triage.clone(),
        },
        // Wall time: at the speed of a drill the usual lease would be minutes in which nobody has the run.
        lease: if drill.kills.is_empty() { settings.lease } else { LEASE },
        ..settings
    }
}

/// Waits until the run has ended, or waits for a person (a drill has none), or the patience is over.
async fn watch(
    pool: &PgPool,
    clock: &sim::Clock,
    run_id: Uuid,
    patience: Timestamp,
) -> anyhow::Result<RunRow> {
    let mut bell = store::listener::PgListener::connect_with(pool).await?;
    bell.listen("firebreak").await?;
    loop {
        let run = store::pages::run(pool, run_id).await?.context("the run is gone")?;
        let waits_for_a_person = ["paused", "stuck", "outcome_unknown"].contains(&run.state.as_str());
        if run.ended_at.is_some() || waits_for_a_person || clock.now() > patience {
            return Ok(run);
        }
        // The bell makes it fast, looking again makes it right.
        if let Ok(heard) = tokio::time::timeout(Duration::from_secs(1), bell.recv()).await {
            heard?;
        }
    }
}

/// Waits until the run was taken over so many times, is over, or the patience is.
async fn driven(
    pool: &PgPool,
    clock: &sim::Clock,
    run_id: Uuid,
    times: usize,
    patience: Timestamp,
) -> anyhow::Result<()> {
    let mut bell = store::listener::PgListener::connect_with(pool).await?;
    bell.listen("firebreak").await?;
    loop {
        let run = store::pages::run(pool, run_id).await?.context("the run is gone")?;
        let journal = store::runs::journal(pool, run_id).await?;
        if run.ended_at.is_some() || taken_over(&journal) >= times || clock.now() > patience {
            return Ok(());
        }
        if let Ok(heard) = tokio::time::timeout(Duration::from_secs(1), bell.recv()).await {
            heard?;
        }
    }
}

fn taken_over(journal: &[Record]) -> usize {
    journal.iter().filter(|r| matches!(r.entry, Entry::TakenOver { .. })).count()
}

async fn acted(
    pool: &PgPool,
    engine: &Engine,
    mut run: RunRow,
    decided_at: Timestamp,
) -> anyhow::Result<Acted> {
    let journal = store::runs::journal(pool, run.id).await?;
    if run.ended_at.is_none() {
        // What it waits for a person for.
        let state = State::replay(&journal)?;
        let blocked = state.blocked().map(|(_, pause)| pause).next();
        run.message = state.held().or(blocked).map(|pause| pause.why.clone());
    }
    let calls = store::calls::of_run(pool, run.id, 0).await?;
    Ok(Acted {
        decided_at,
        soak: soak(engine, &run.runbook),
        taken_over: taken_over(&journal),
        changes: calls.into_iter().filter(|c| c.mutating).collect(),
        run,
    })
}

/// For how long the symptom must be gone before a run of it ends.
fn soak(engine: &Engine, runbook: &str) -> Duration {
    let hold = engine.library().runbook(runbook).and_then(|r| r.verify.as_ref()?.look.until.as_ref()?.hold);
    hold.unwrap_or_default()
}

async fn wait_until(clock: &sim::Clock, moment: Timestamp) {
    clock.sleep((moment - clock.now()).to_std().unwrap_or_default()).await;
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
