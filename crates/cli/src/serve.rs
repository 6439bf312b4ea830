//! `firebreak serve`: the control plane on a configuration file.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Role};
use engine::clock::SystemClock;
use engine::{Library, WatchSettings};

use crate::app::{self, Plan, Web};
use crate::config::Config;
use crate::terminal::say;
use crate::{files, reload, simulated};

/// `firebreak serve`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration file; deploy/firebreak.yaml is a commented sample
    #[arg(long, env = "FIREBREAK_CONFIG")]
    config: PathBuf,
    /// Print a sign-in link for this person at start, as an admin. Without it that happens only at a terminal, where nobody else says
    /// who people are: elsewhere, what is printed is read by whoever reads logs
    #[arg(long, value_name = "NAME")]
    sign_in: Option<String>,
}

/// Who is signed in by the first link at a terminal.
const FIRST: &str = "on-call";

/// Runs until asked to end. A process that has lost its lease stops everything and starts anew under another id, as soon
/// as the database is there again. One that cannot stop, or was frozen for long, is ended: the supervisor starts another.
pub(crate) async fn serve(args: Args) -> anyhow::Result<ExitCode> {
    let end = app::End::listen()?;
    let mut hangup = reload::hangup()?;
    let config = Config::read(&args.config)?;
    let pool = store::connect(&config.database_url()?).await?;
    let clock: Arc<dyn Clock> = match &config.simulation {
        Some(simulation) => simulated::remote_clock(&simulation.control).await?,
        None => Arc::new(SystemClock),
    };
    let public_url = config.public_url();
    let hooks = config.hooks.open()?;
    let proxy = config.auth.proxy()?;
    let oidc = config.auth.oidc(&public_url)?;
    let mut channels = config.notify.open(config.environment.as_deref())?;
    let slack = config.slack()?;
    if let Some(slack) = &slack {
        // The outbox posts there what is told of runs; edits and answers go their own way.
        channels.insert(domain::chat::BOARD.into(), slack.bot.clone());
    }
    let mut greeted = false;
    let mut shelf = Library::default();
    loop {
        let runbooks = match files::runbooks(config.runbooks.as_deref()) {
            Ok(runbooks) if greeted && runbooks.is_empty() => {
                tracing::error!("there is no runbook any more: all stay as they are");
                None
            }
            Ok(runbooks) => Some(runbooks),
            // As at the launch below; what cannot be read now must not take away what could be.
            Err(e) if !greeted => return Err(e),
            Err(e) => {
                tracing::error!("runbooks are not read again, and all stay as they are: {e:#}");
                None
            }
        };
        let plan = Plan {
            channels: channels.clone(),
            pool: pool.clone(),
            inventory: config.inventory.clone(),
            clock: clock.clone(),
            actions: config.actions(),
            shelf: shelf.clone(),
            runbooks,
            engine: config.engine(),
        };
        let engine = match Box::pin(app::launch(plan)).await {
            Ok(engine) => engine,
            // At the first start somebody reads why it does not work; later it must come back by itself.
            Err(e) if !greeted => return Err(e),
            Err(e) => {
                tracing::warn!("not started anew yet: {e:#}");
                tokio::select! {
                    () = end.clone().asked() => return Ok(ExitCode::SUCCESS),
                    () = tokio::time::sleep(Duration::from_secs(1)) => continue,
                }
            }
        };
        engine.guard(|| {
            tracing::error!("this process lost its lease long ago and has not stopped: it is ended here");
            std::process::abort();
        })?;
        let listener = app::listen(config.listen).await?;
        if !greeted {
            say(format!("Firebreak listens on {public_url}"));
            let others = proxy.is_some() || oidc.is_some();
            let first = || (!others && std::io::stdout().is_terminal()).then_some(FIRST);
            if let Some(name) = args.sign_in.as_deref().or_else(first) {
                let link = server::sign_in_link(&pool, name, Role::Admin, &public_url).await?;
                say(format!("Sign in once, within 15 minutes: {link}"));
            } else if !others {
                let config = args.config.display();
                say(format!("For a link, run `firebreak sign-in NAME --role admin --config {config}`"));
            }
            greeted = true;
        }
        let web = Web {
            public_url: public_url.clone(),
            environment: config.environment.clone(),
            simulated: config.simulation.is_some(),
            // What it works on is real, or somebody else's simulator.
            drills: None,
            proxy: proxy.clone(),
            oidc: oidc.clone(),
            requests_per_minute: config.api.requests_per_minute,
            hooks: hooks.clone(),
            slack: slack.as_ref().map(|slack| slack.web.clone()),
        };
        let watch = WatchSettings {
            every: Duration::from_secs(config.prober.every_s),
            at_most_every: Duration::from_secs(1),
            error_share_query: config.symptom.as_ref().map(|s| s.error_share.clone()),
            keep: Duration::from_secs(2 * 60 * 60),
            alarms: config.alarm_watch(),
        };
        let (lost, ended) = tokio::sync::oneshot::channel();
        let watched = engine.clone();
        let asked_to_end = end.clone().asked();
        let stop = async move {
            let asked = tokio::select! {
                () = asked_to_end => true,
                () = watched.lost() => false,
            };
            let _ = lost.send(asked);
        };
        let reloads = reload::watch(engine.clone(), config.runbooks.clone(), &mut hangup);
        let served = app::serve_until(&engine, listener, web, watch, stop);
        tokio::select! {
            served = served => served?,
            () = async { reloads.await; std::future::pending().await } => {}
        }
        if ended.await.unwrap_or(true) {
            return Ok(ExitCode::SUCCESS);
        }
        shelf = engine.library();
        tracing::warn!("starting anew after a lost lease");
    }
}
