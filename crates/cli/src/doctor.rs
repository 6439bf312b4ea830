//! `firebreak doctor`: is everything here that a server needs? Each line says ok, warning or failed, and what to do.
//!
//! It looks with the server's own configuration and eyes, and changes nothing. What it cannot look at: whether AWS lets this
//! process *change* what its runbooks change; `firebreak runbook permissions` prints what that takes, and a plan is the proof.

mod outside;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use chrono::TimeDelta;
use domain::Clock as _;
use domain::inventory::{Inventory, SecretRef};
use domain::words::many;
use engine::clock::SystemClock;
use engine::{Dangling, Library};
use serde_json::json;
use store::{PgPool, schema};

use crate::config::Config;
use crate::remote::words::{Ink, paint};
use crate::terminal::say;
use crate::{files, runbook};

/// Clocks that are further apart make times on pages hard to believe, and signatures of AWS and webhooks void.
const APART: TimeDelta = TimeDelta::seconds(5);

/// `firebreak doctor`
#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 nothing failed; 1 something did; 2 wrong command line")]
pub(crate) struct Args {
    /// The configuration file of the server
    #[arg(long, env = "FIREBREAK_CONFIG")]
    config: PathBuf,
    /// Tell the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    Warning,
    Failed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        })
    }
}

/// One line.
struct Finding {
    what: &'static str,
    state: State,
    says: String,
    remedy: Option<String>,
}

/// The lines so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, what: &'static str, says: impl Into<String>) {
        self.0.push(Finding { what, state: State::Ok, says: says.into(), remedy: None });
    }

    fn warn(&mut self, what: &'static str, says: impl Into<String>, remedy: &str) {
        self.0.push(Finding { what, state: State::Warning, says: says.into(), remedy: Some(remedy.into()) });
    }

    fn fail(&mut self, what: &'static str, says: impl Into<String>, remedy: &str) {
        self.0.push(Finding { what, state: State::Failed, says: says.into(), remedy: Some(remedy.into()) });
    }
}

/// Looks at everything, however much of it fails.
pub(crate) async fn doctor(args: Args) -> anyhow::Result<ExitCode> {
    let mut findings = Findings::default();
    match Config::read(&args.config) {
        Err(e) => findings.fail(
            "configuration",
            format!("{e:#}"),
            "mend the file; deploy/firebreak.yaml explains every key",
        ),
        Ok(config) => {
            let Inventory { clusters, fleets, .. } = &config.inventory;
            findings.ok(
                "configuration",
                format!("{}, {}", many(clusters.len(), "cluster"), many(fleets.len(), "fleet")),
            );
            look(&config, &mut findings).await;
        }
    }
    let failed = findings.0.iter().any(|finding| finding.state == State::Failed);
    if args.json {
        let told = |f: &Finding| json!({ "what": f.what, "state": f.state.to_string(), "says": f.says, "remedy": f.remedy });
        let all: Vec<_> = findings.0.iter().map(told).collect();
        say(format!("{:#}", json!({ "sound": !failed, "findings": all })));
    } else {
        for Finding { what, state, says, remedy } in &findings.0 {
            let ink = match state {
                State::Ok => Ink::Good,
                State::Warning => Ink::Warn,
                State::Failed => Ink::Bad,
            };
            say(format!("{}  {what}: {says}", paint(ink, &format!("{:<7}", state.to_string()))));
            if let Some(remedy) = remedy {
                say(format!("         → {remedy}"));
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn look(config: &Config, findings: &mut Findings) {
    match config.database_url() {
        Err(e) => {
            let remedy = match &config.database {
                Some(SecretRef::Env(name)) => format!("set {name} to its URL, or DATABASE_URL"),
                Some(SecretRef::File(path)) => format!("write its URL into {path}, or set DATABASE_URL"),
                None => "set DATABASE_URL, or `database` in the configuration".into(),
            };
            findings.fail("database", format!("{e:#}"), &remedy);
        }
        Ok(url) => match store::open(&url).await {
            Err(e) => findings.fail("database", e.to_string(), "start Postgres, or correct its URL"),
            Ok(pool) => {
                database(&pool, config, findings).await;
                pool.close().await;
            }
        },
    }
    runbooks(config, findings).await;
    match actions::secrets::resolve(&config.inventory, &config.actions()) {
        Ok(_) => findings.ok("passwords", "of the prober and of every fleet's admin are readable"),
        Err(e) => findings.fail(
            "passwords",
            e.to_string(),
            "put them where the configuration says, readable for this user",
        ),
    }
    match config.hooks.open() {
        Err(e) => findings.fail("webhooks", format!("{e:#}"), "give the secret, or close the source"),
        Ok(hooks) => {
            let open: Vec<_> = hooks.names().collect();
            if open.is_empty() {
                findings.warn(
                    "webhooks",
                    "no alert source is open",
                    "open one under `hooks`, unless the prober is to be the only one who notices",
                );
            } else {
                findings.ok("webhooks", format!("open for {}", open.join(", ")));
            }
        }
    }
    if let Err(e) = config.notify.open(config.environment.as_deref()) {
        findings.fail(
            "notify",
            format!("{e:#}"),
            "correct the channel, or leave it out: `firebreak serve` does not start",
        );
    }
    alarms(config, findings);
    slack(config, findings).await;
    match config.auth.proxy() {
        Err(e) => findings.fail("sign-in", format!("{e:#}"), "correct `auth`, or leave it out"),
        Ok(None) => findings.ok("sign-in", "by links, from `firebreak sign-in`"),
        Ok(Some(proxy)) => {
            findings.ok("sign-in", format!("by the header {} of a proxy, and by links", proxy.header))
        }
    }
    match config.auth.oidc(&config.public_url()) {
        Ok(None) => {}
        Err(e) => findings.fail("provider", format!("{e:#}"), "correct `auth.oidc`, or leave it out"),
        Ok(Some(oidc)) => provider(&oidc, findings).await,
    }
    outside::look(config, findings).await;
    let url = config.public_url();
    if url.starts_with("https://") {
        findings.ok("address", url);
    } else {
        findings.warn(
            "address",
            format!("{url} is not encrypted"),
            "put TLS in front, and say so in `public_url`: cookies are then sent over it alone",
        );
    }
}

/// Alarms that would be read in vain, said once here instead of in the log every few minutes.
fn alarms(config: &Config, findings: &mut Findings) {
    let mistakes: Vec<_> =
        config.alarms.of.iter().filter_map(|alarms| alarms.mistake(&config.inventory)).collect();
    for mistake in &mistakes {
        findings.warn(
            "alarms",
            mistake,
            "correct `alarms.of`, unless it is meant: nobody hears of alarms that cannot be asked for",
        );
    }
    if mistakes.is_empty() && !config.alarms.of.is_empty() {
        findings.ok("alarms", format!("are read in {}", many(config.alarms.of.len(), "place")));
    }
}

async fn slack(config: &Config, findings: &mut Findings) {
    let Some(keys) = &config.slack else { return };
    let slack = match config.slack() {
        Ok(Some(slack)) => slack,
        Ok(None) => return,
        Err(e) => return findings.fail("slack", format!("{e:#}"), "correct `slack`, or leave it out"),
    };
    match slack.bot.who().await {
        Err(e) => findings.fail(
            "slack",
            format!("the bot's token does not work: {e}"),
            "install the app anew (deploy/slack/manifest.yaml), and put its bot token where `slack.token` says",
        ),
        Ok(who) if !keys.teams().contains(&who.team_id) => findings.warn(
            "slack",
            format!("the token is of the team {} ({}), which `slack.teams` does not name", who.team_id, who.team),
            "add it under `slack.teams`: what is typed there is refused",
        ),
        Ok(who) => findings.ok("slack", format!("{} in {} ({})", who.user, who.team, who.team_id)),
    }
}

/// The provider at which people sign in: reached, itself, and of our time.
async fn provider(oidc: &server::Oidc, findings: &mut Findings) {
    let begun = SystemClock.now();
    let at = match oidc.look().await {
        Ok(at) => at,
        Err(e) => {
            let remedy =
                "people cannot sign in at it: correct `auth.oidc.issuer`, or let this machine reach it";
            return findings.fail("provider", e.to_string(), remedy);
        }
    };
    findings.ok("provider", format!("{} is reached, is the one that was meant, and has keys", oidc.issuer()));
    // To the second, as HTTP says it, and as long as the answer took.
    let Some(theirs) = at else { return };
    let apart = (theirs - begun).num_seconds();
    let slack = (SystemClock.now() - begun).num_seconds() + 1;
    if apart.abs() > APART.num_seconds() + slack {
        let says = format!("the provider's is {apart:+} s from ours");
        findings.warn(
            "provider's clock",
            says,
            "let NTP keep this machine's: tokens of a time that has not come are refused",
        );
    } else {
        findings.ok("provider's clock", format!("{apart:+} s from ours"));
    }
}

async fn database(pool: &PgPool, config: &Config, findings: &mut Findings) {
    match schema::missing(pool).await {
        Ok(missing) if missing.is_empty() => findings.ok("database", "reachable and migrated"),
        Ok(missing) => {
            let says = format!("migrations {missing:?} are missing");
            return findings.fail("database", says, "run `firebreak migrate` as the owner of the tables");
        }
        Err(e) => {
            return findings.fail("database", e.to_string(), "restore the schema that this version knows");
        }
    }
    match schema::standing(pool).await {
        Err(e) => findings.fail("database role", e.to_string(), "let this user read the tables"),
        Ok(standing) if !standing.writes => {
            let says = format!("{} may not add to the journal", standing.user);
            findings.fail("database role", says, "grant it the role firebreak_app (deploy/database.sql)");
        }
        Ok(standing) if standing.rewrites => {
            let says = format!("{} may change history", standing.user);
            findings.warn(
                "database role",
                says,
                "in production let the server connect as firebreak_app (deploy/database.sql)",
            );
        }
        Ok(standing) => findings
            .ok("database role", format!("{} adds to history and changes nothing in it", standing.user)),
    }
    let begun = SystemClock.now();
    if config.simulation.is_some() {
        findings.ok("clock", "is the simulator's");
    } else if let Ok(theirs) = schema::clock(pool).await {
        let (ended, half) = (SystemClock.now(), |span: TimeDelta| span / 2);
        let apart = theirs - (begun + half(ended - begun));
        let says = format!(
            "{:+.1} s from the database's",
            Duration::from_millis(apart.num_milliseconds().unsigned_abs()).as_secs_f64()
                * if apart < TimeDelta::zero() { -1.0 } else { 1.0 }
        );
        if apart.abs() > APART {
            findings.warn(
                "clock",
                says,
                "let NTP keep both: signatures are void and times misleading when clocks disagree",
            );
        } else {
            findings.ok("clock", says);
        }
    }
}

async fn runbooks(config: &Config, findings: &mut Findings) {
    let texts = match files::runbooks(config.runbooks.as_deref()) {
        Ok(texts) => texts,
        Err(e) => {
            return findings.fail(
                "runbooks",
                format!("{e:#}"),
                "name the folder under `runbooks`, or leave it out for the embedded ones",
            );
        }
    };
    let registry = match runbook::described(Some(config)).await {
        Ok(registry) => registry,
        Err(e) => return findings.fail("actions", format!("{e:#}"), "correct the configuration of AWS"),
    };
    let all = texts.len();
    let library = Library::open(texts, &registry);
    for Dangling { key, name, why } in library.dangling(&config.triggers, &config.policies) {
        let (says, remedy) =
            (format!("`{name}`: {why}"), "correct the name in the configuration, or in the runbook");
        match key {
            // It starts nothing; what was to be narrowed and is not, lets people in.
            "triggers" => findings.warn(key, says, remedy),
            _ => findings.fail(key, says, remedy),
        }
    }
    let broken: Vec<_> = library
        .iter()
        .filter(|(_, shelf)| shelf.runbook.is_err())
        .map(|(_, shelf)| shelf.file.clone())
        .collect();
    if broken.is_empty() {
        findings.ok("runbooks", format!("{all} are sound"));
    } else {
        let says = format!("{} of {all} have mistakes: {}", broken.len(), broken.join(", "));
        findings.fail(
            "runbooks",
            says,
            "run `firebreak runbook check` on them: it says what to write instead",
        );
    }
}
