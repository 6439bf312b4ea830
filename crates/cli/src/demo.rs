//! `firebreak demo`: everything on embedded defaults. A private Postgres, a simulated AWS in which the incident of
//! 7 May 2024 happens, and the control plane in front of it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::runbook::Mode;
use domain::token::{Scope, Wish};
use domain::{Actor, Role};
use engine::{Library, TriageSettings, WatchSettings};
use sim::{Sim, World};
use store::private;
use uuid::Uuid;

use crate::app::{self, Plan, Web};
use crate::config::Api;
use crate::drill::theatre::{House, Theatre};
use crate::files;
use crate::simulated::{self, SimClock, inventory};
use crate::terminal::say;

/// `firebreak demo`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the web page listens
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Simulated seconds per second
    #[arg(long, default_value_t = 20.0, value_parser = simulated::speed)]
    speed: f64,
    /// How you are called on the pages
    #[arg(long, default_value = "on-call")]
    name: String,
    /// Nobody is at the keyboard: every trigger may start its runbook by itself
    #[arg(long)]
    auto: bool,
}

/// The incident begins at 14:42; the demo lets the minutes before it pass quickly.
const BEGIN: TimeDelta = TimeDelta::minutes(11);
const HASTE: f64 = 600.0;

/// Runs until interrupted.
pub(crate) async fn demo(args: Args) -> anyhow::Result<ExitCode> {
    let listener = app::listen(args.listen).await?;
    let state = files::state_folder();
    // Named by the port: whoever has the port, has the database.
    let name = format!("firebreak_demo_{}", args.listen.port());
    let database = private::Database::given_or_fresh(private::Options::lasting(), &name).await?;
    let pool = store::connect(&database.url).await?;

    let world = World::incident_2024_05_07();
    let begin = world.start + BEGIN;
    let sim = Sim::start(world, sim::Options { speed: HASTE, ..sim::Options::default() }).await?;
    let clock = sim.clock();
    clock.sleep((begin - clock.now()).to_std().unwrap_or_default()).await;
    clock.set_speed(args.speed);
    let home = clock.clone();

    let secrets = state.join("demo-secrets");
    let usual = engine::Settings::default();
    // A database that was given may be shared, and outlives a demo that was killed: its runs are to be taken over soon.
    let lease = if database.server.is_some() { simulated::ALONE } else { usual.lease };
    let engine = Box::pin(app::launch(Plan {
        channels: domain::notice::Channels::new(),
        pool: pool.clone(),
        inventory: inventory(&sim.world_info(), &secrets)?,
        clock: Arc::new(SimClock(clock)),
        actions: simulated::actions(sim.endpoint(), &secrets)?,
        shelf: Library::default(),
        runbooks: Some(files::runbooks(None)?),
        engine: engine::Settings {
            rehearse_every: Some(Duration::from_secs(30 * 60)),
            triage: TriageSettings { all: args.auto.then_some(Mode::Auto), ..TriageSettings::default() },
            lease,
            ..usual
        },
    }))
    .await?;
    let public_url = format!("http://{}", args.listen);
    let link = server::sign_in_link(&pool, &args.name, Role::Admin, &public_url).await?;
    let colleague = format!("{}-2", args.name);
    let second = server::sign_in_link(&pool, &colleague, Role::Approver, &public_url).await?;
    let wish = Wish {
        name: format!("demo-{:08x}", Uuid::now_v7().as_fields().0),
        role: Role::Admin,
        scope: Scope::default(),
        days: 1,
    };
    let by = Actor::with_role(&args.name, Role::Admin);
    let (token, _) = server::make_token(&pool, &args.name, &wish, &by, engine.clock().now()).await?;
    say(format!(
        "\nThe incident of 7 May 2024 begins now, {} times as fast as it was.\n\n    {link}\n\n\
         Open the link. Within a minute logins to shard-b begin to fail; {}\n\
         What is severe takes a second person: {colleague}, in a private window of the browser, by\n\n    {second}\n\n\
         Each link works once, within a quarter of an hour.\n\
         From another terminal, `{} runs` and its like work with\n\n    \
         export FIREBREAK_URL={public_url} FIREBREAK_TOKEN={token}\n\n\
         Ctrl-C ends everything.\n",
        args.speed,
        if args.auto {
            "Firebreak sees it, decides and recovers it by itself."
        } else {
            "Firebreak sees it, and asks you with one click to replace the ProxySQL hosts."
        },
        called(std::env::var_os("PATH"), std::env::current_exe().ok())
    ));
    let (stage, end) = (server::Stage::default(), app::End::listen()?);
    let theatre = Theatre::new(House {
        pool: pool.clone(),
        clock: home,
        stage: stage.clone(),
        public_url: public_url.clone(),
        requests_per_minute: Api::default().requests_per_minute,
        speed: args.speed,
        end: end.clone(),
    });
    let web = Web {
        drills: Some((Arc::new(theatre.clone()), stage)),
        public_url,
        environment: Some("demo".into()),
        simulated: true,
        proxy: None,
        oidc: None,
        requests_per_minute: Api::default().requests_per_minute,
        hooks: server::Hooks::default(),
        slack: None,
    };
    let watch = WatchSettings {
        every: Duration::from_secs(10),
        at_most_every: Duration::from_millis(500),
        error_share_query: Some("cluster:request_error_share".into()),
        keep: Duration::from_secs(3 * 60 * 60),
        alarms: None,
    };
    app::serve_until(&engine, listener, web, watch, end.asked()).await?;
    theatre.close().await;
    sim.stop().await;
    pool.close().await;
    drop(database);
    Ok(ExitCode::SUCCESS)
}

/// What to type to call this program: its name where a shell finds it, else where it is.
fn called(path: Option<OsString>, here: Option<PathBuf>) -> String {
    let name = "firebreak";
    let found = path.is_some_and(|path| std::env::split_paths(&path).any(|at| at.join(name).is_file()));
    here.filter(|_| !found).map_or_else(|| name.to_owned(), |here| here.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_no_shell_finds_is_called_by_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = || Some(folder.path().into());
        let here = || Some(PathBuf::from("/src/target/debug/firebreak"));
        assert_eq!(called(path(), here()), "/src/target/debug/firebreak");
        std::fs::write(folder.path().join("firebreak"), "").unwrap();
        assert_eq!(called(path(), here()), "firebreak");
        assert_eq!(called(None, None), "firebreak");
    }
}
