//! Puts the parts together: actions, runbooks, engine, web.

use std::future::{Future, IntoFuture as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use domain::Clock;
use domain::inventory::Inventory;
use domain::notice::Channels;
use engine::{Engine, Library, Parts, WatchSettings};
use store::PgPool;
use tokio::net::TcpListener;

/// What an application is made of.
pub(crate) struct Plan {
    pub(crate) pool: PgPool,
    pub(crate) inventory: Inventory,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) actions: actions::Settings,
    /// The shelf of the engine before, should there have been one: its last good versions stay.
    pub(crate) shelf: Library,
    /// What is put on it; it stays as it was, when absent.
    pub(crate) runbooks: Option<Vec<(String, String)>>,
    pub(crate) channels: Channels,
    pub(crate) engine: engine::Settings,
}

/// Launches an engine. Runbooks with mistakes are told on the log and cannot be run; the others can. So are names in the
/// configuration that are not there.
pub(crate) async fn launch(plan: Plan) -> anyhow::Result<Engine> {
    let inventory = Arc::new(plan.inventory);
    let registry = actions::registry(inventory.clone(), plan.actions).await?;
    let library = match plan.runbooks {
        Some(runbooks) => plan.shelf.reload(runbooks, &registry).0,
        None => plan.shelf,
    };
    for (name, shelf) in library.iter() {
        if let Err(mistakes) = &shelf.runbook {
            let rendered = domain::runbook::render(&shelf.file, &shelf.text, mistakes, false);
            tracing::error!("runbook `{name}` is refused:\n{rendered}");
        }
    }
    let parts = Parts {
        pool: plan.pool,
        registry,
        inventory,
        library,
        clock: plan.clock,
        channels: plan.channels,
        settings: plan.engine,
    };
    let engine = Engine::launch(parts).await.context("the engine")?;
    engine.dangling().iter().for_each(|name| tracing::error!("{name}"));
    Ok(engine)
}

/// How the server presents itself.
pub(crate) struct Web {
    pub(crate) public_url: String,
    pub(crate) environment: Option<String>,
    pub(crate) simulated: bool,
    /// Who plays drills, and where.
    pub(crate) drills: Option<(Arc<dyn server::Drills>, server::Stage)>,
    /// A proxy in front that says who people are.
    pub(crate) proxy: Option<server::TrustedProxy>,
    /// A provider at which they sign in.
    pub(crate) oidc: Option<Arc<server::Oidc>>,
    /// How many requests of the API one session or token may send in a minute.
    pub(crate) requests_per_minute: u32,
    /// Alert sources that are open.
    pub(crate) hooks: server::Hooks,
    /// Slack, where it is set up.
    pub(crate) slack: Option<server::Slack>,
}

/// What callers get to finish what they ask, once the engine has stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Serves the web page and the API until `stop` completes, then lets the engine finish what is in flight.
pub(crate) async fn serve_until(
    engine: &Engine,
    listener: TcpListener,
    web: Web,
    watch: WatchSettings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let watches_errors = watch.error_share_query.is_some();
    engine.watch(watch);
    if let Some(slack) = &web.slack {
        engine.show_runs(slack.chat.clone());
    }
    let (end, ending) = tokio::sync::watch::channel(false);
    let mut stopping = end.subscribe();
    let (drills, stage) = web.drills.unzip();
    let settings = server::Settings {
        drills,
        drill: None,
        people: None,
        secure_cookies: web.public_url.starts_with("https://"),
        public_url: web.public_url,
        environment: web.environment,
        simulated: web.simulated,
        proxy: web.proxy,
        oidc: web.oidc,
        requests_per_minute: web.requests_per_minute,
        hooks: web.hooks,
        slack: web.slack,
        watches_errors,
        ending,
    };
    let router = server::router(engine.clone(), settings);
    let router = match stage {
        Some(stage) => server::staged(router, stage),
        None => router,
    };
    let served = axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            stop.await;
            end.send_replace(true);
        })
        .into_future();
    let rests = tokio::sync::Notify::new();
    // The web server ends once its callers have their answers; one that does not hang up must not keep the process.
    let web = async {
        tokio::select! {
            served = served => served.context("the web server"),
            () = async { rests.notified().await; tokio::time::sleep(LAST_ANSWERS).await } => Ok(()),
        }
    };
    let engine = async {
        let _ = stopping.wait_for(|ending| *ending).await;
        engine.shut_down().await;
        rests.notify_one();
    };
    let (served, ()) = tokio::join!(web, engine);
    served
}

/// Opens the port.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; is it in use? Choose another with --listen"))
}

/// Ctrl-C or SIGTERM, remembered from the first moment on: also what comes while a server is still being started is heard.
#[derive(Clone)]
pub(crate) struct End(tokio::sync::watch::Receiver<bool>);

impl End {
    /// Listens from now on.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        use tokio::signal::unix::{SignalKind, signal};
        // Tokio puts its handler in place first and its listener after: another thread may hand on, to nobody, what comes in
        // between, and a server that was told to end as it started would never end. So a flag is there before both.
        let early = Arc::new(AtomicBool::new(false));
        for end in [SIGINT, SIGTERM] {
            signal_hook::flag::register(end, early.clone())?;
        }
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (tell, told) = tokio::sync::watch::channel(early.load(Ordering::SeqCst));
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tell.send_replace(true);
        });
        Ok(Self(told))
    }

    /// Completes when the process is asked to end, or was.
    pub(crate) async fn asked(mut self) {
        let _ = self.0.wait_for(|asked| *asked).await;
    }
}
