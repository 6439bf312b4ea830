//! The configuration file: one YAML file, every key known, every mistake named with its place.
//!
//! `deploy/firebreak.yaml` is the commented sample, and a test keeps it readable.

mod alerts;
mod auth;
mod notify;
mod oidc;
mod slack;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use domain::inventory::{Inventory, SecretRef};
use domain::policy::Policies;
use domain::runbook::Mode;
use serde::Deserialize;

pub(crate) use alerts::{Alarms, Automation, HookKeys};
pub(crate) use auth::Auth;
pub(crate) use notify::Notify;
pub(crate) use slack::{Slack, SlackKeys};

/// Everything `firebreak serve` is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where the web page and the API listen.
    #[serde(default = "listen")]
    pub(crate) listen: SocketAddr,
    /// How people reach it; links and cookies are made for this address.
    #[serde(default)]
    pub(crate) public_url: Option<String>,
    /// Name of the environment, shown on every page.
    #[serde(default)]
    pub(crate) environment: Option<String>,
    /// The Postgres URL. `DATABASE_URL` in the environment wins.
    #[serde(default)]
    pub(crate) database: Option<SecretRef>,
    /// A folder of runbooks; the embedded ones when absent.
    #[serde(default)]
    pub(crate) runbooks: Option<PathBuf>,
    /// What may be looked at and touched.
    pub(crate) inventory: Inventory,
    /// How AWS is reached.
    #[serde(default)]
    pub(crate) aws: Aws,
    /// Where the customers' symptom is measured.
    #[serde(default)]
    pub(crate) symptom: Option<Symptom>,
    /// Places that take signed calls, by the names that runbooks use.
    #[serde(default)]
    pub(crate) webhooks: BTreeMap<String, actions::Webhook>,
    /// Where customers are told of incidents.
    #[serde(default)]
    pub(crate) statuspage: Option<actions::Statuspage>,
    /// The login prober.
    #[serde(default)]
    pub(crate) prober: Prober,
    /// Rehearsals.
    #[serde(default)]
    pub(crate) readiness: Readiness,
    /// What is removed when it is old.
    #[serde(default)]
    pub(crate) retention: Retention,
    /// Modes of rules (`runbook/trigger`), instead of the files'.
    #[serde(default)]
    pub(crate) triggers: BTreeMap<String, Mode>,
    /// Alarms of CloudWatch that are read at the start, and every few minutes.
    #[serde(default)]
    pub(crate) alarms: Alarms,
    /// How much rules may do without a person.
    #[serde(default)]
    pub(crate) automation: Automation,
    /// Alert sources that are open.
    #[serde(default)]
    pub(crate) hooks: HookKeys,
    /// Where people elsewhere are told.
    #[serde(default)]
    pub(crate) notify: Notify,
    /// Slack, for people to work in.
    #[serde(default)]
    pub(crate) slack: Option<SlackKeys>,
    /// The JSON API.
    #[serde(default)]
    pub(crate) api: Api,
    /// Who says who people are, besides sign-in links.
    #[serde(default)]
    pub(crate) auth: Auth,
    /// Who may start which runbook, and agree to it, where that is less than their roles allow.
    #[serde(default)]
    pub(crate) policies: Policies,
    /// How workers share the work.
    #[serde(default)]
    pub(crate) worker: Worker,
    /// Only for a simulated AWS: where its clock is.
    #[serde(default)]
    pub(crate) simulation: Option<Simulation>,
}

/// How AWS is reached: by the SDK's default chain of credentials and regions, unless an endpoint is given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Aws {
    /// One endpoint for all services: a simulator or an emulator.
    #[serde(default)]
    pub(crate) endpoint: Option<String>,
    /// How many requests a second the looks of all replicas together may send to one service in one region. Changes are never held back.
    #[serde(default)]
    pub(crate) looks_per_second: Option<f64>,
    /// The same to RDS, which grants less; never more than to the others.
    #[serde(default)]
    pub(crate) rds_looks_per_second: Option<f64>,
}

/// Where the customers' symptom is measured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Symptom {
    /// Base URL of a Prometheus.
    pub(crate) prometheus: String,
    /// An instant query that answers the share of failed requests, 0 to 1, with a label `cluster`.
    pub(crate) error_share: String,
}

/// Rehearsals: every runbook on every target.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Readiness {
    /// Minutes between two rehearsals of the same; 0 for none.
    pub(crate) every_min: u32,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { every_min: 30 }
    }
}

impl Readiness {
    pub(crate) fn every(self) -> Option<Duration> {
        (self.every_min > 0).then(|| Duration::from_secs(60 * u64::from(self.every_min)))
    }
}

/// What is removed when it is old: the ids of deliveries, and messages that were sent. History is not.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retention {
    /// Days that they are kept.
    pub(crate) days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { days: 30 }
    }
}

/// The login prober.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Prober {
    /// Seconds between two rounds of logins.
    pub(crate) every_s: u64,
}

impl Default for Prober {
    fn default() -> Self {
        Self { every_s: 10 }
    }
}

/// The JSON API.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Api {
    /// How many requests one session or token may send in a minute.
    pub(crate) requests_per_minute: u32,
}

impl Default for Api {
    fn default() -> Self {
        Self { requests_per_minute: 600 }
    }
}

/// How workers share the work.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Worker {
    /// A worker that has not been heard of for so many seconds is dead, and its runs are taken over.
    pub(crate) lease_s: f64,
}

impl Default for Worker {
    fn default() -> Self {
        Self { lease_s: 10.0 }
    }
}

/// A simulated AWS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Simulation {
    /// Base URL of `firebreak sim`; its clock is taken over at start.
    pub(crate) control: String,
}

impl Config {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("the configuration {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("the configuration {}", path.display()))
    }

    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self = serde_saphyr::from_str(text)?;
        let mut mistakes = config.inventory.mistakes();
        mistakes.extend(config.policies.mistakes());
        if !(1.0..=300.0).contains(&config.worker.lease_s) {
            mistakes.push(format!("worker.lease_s is {}; write 1 to 300 seconds", config.worker.lease_s));
        }
        match config.public_url.as_deref() {
            Some(url) if !is_address(url) => mistakes.push(format!(
                "public_url is `{url}`; write it as a browser does, such as https://firebreak.example.com"
            )),
            Some(url) if has_path(url) => mistakes.push(format!(
                "public_url is `{url}`; leave its path out: the pages are at the root of a host name of their own"
            )),
            _ => {}
        }
        if config.api.requests_per_minute == 0 {
            mistakes.push("api.requests_per_minute is 0; write at least 1".into());
        }
        if config.prober.every_s == 0 {
            mistakes.push("prober.every_s is 0; write at least 1 second".into());
        }
        if !(1..=3650).contains(&config.retention.days) {
            mistakes.push(format!("retention.days is {}; write 1 to 3650", config.retention.days));
        }
        if config.alarms.every_s == 0 {
            mistakes.push("alarms.every_s is 0; write at least 1 second".into());
        }
        let Aws { looks_per_second, rds_looks_per_second, .. } = &config.aws;
        for (key, looks) in
            [("looks_per_second", looks_per_second), ("rds_looks_per_second", rds_looks_per_second)]
        {
            let Some(looks) = looks.filter(|looks| !(0.1..=100.0).contains(looks)) else { continue };
            mistakes.push(format!("aws.{key} is {looks}; write 0.1 to 100"));
        }
        if config.hooks.are_simulated() && config.aws.endpoint.is_none() {
            let why = "it would believe what anybody signs with the simulator's key";
            mistakes.push(format!("hooks.sns.simulated without aws.endpoint: {why}"));
        }
        if !mistakes.is_empty() {
            bail!("\n  - {}", mistakes.join("\n  - "));
        }
        Ok(config)
    }

    /// How people reach it.
    pub(crate) fn public_url(&self) -> String {
        self.public_url
            .clone()
            .unwrap_or_else(|| format!("http://{}", self.listen))
            .trim_end_matches('/')
            .to_owned()
    }

    /// Slack, ready to be served, where it is configured.
    pub(crate) fn slack(&self) -> anyhow::Result<Option<Slack>> {
        self.slack.as_ref().map(|keys| keys.open(self.environment.as_deref())).transpose()
    }

    /// The Postgres URL: `DATABASE_URL`, else what the file refers to.
    pub(crate) fn database_url(&self) -> anyhow::Result<String> {
        if let Ok(url) = std::env::var("DATABASE_URL") {
            return Ok(url);
        }
        match &self.database {
            Some(SecretRef::Env(name)) => std::env::var(name)
                .ok()
                .with_context(|| format!("the environment has no {name}, which `database` names")),
            Some(SecretRef::File(path)) => Ok(std::fs::read_to_string(path)
                .with_context(|| format!("{path}, which `database` names"))?
                .trim_end_matches(['\n', '\r'])
                .to_owned()),
            None => {
                bail!("no database: set DATABASE_URL, or `database: {{ env: NAME }}` in the configuration")
            }
        }
    }

    /// How the outside is reached.
    pub(crate) fn actions(&self) -> actions::Settings {
        actions::Settings {
            aws_endpoint: self.aws.endpoint.clone(),
            prometheus: self.symptom.as_ref().map(|s| s.prometheus.clone()),
            webhooks: self.webhooks.clone(),
            statuspage: self.statuspage.clone(),
            ..actions::Settings::default()
        }
    }

    /// Which alarms are read beside what is told of them.
    pub(crate) fn alarm_watch(&self) -> Option<engine::AlarmWatch> {
        let Alarms { of, every_s } = &self.alarms;
        (!of.is_empty()).then(|| engine::AlarmWatch {
            source: self.hooks.tells_of_alarms().to_owned(),
            of: of.iter().map(alerts::AlarmsOf::question).collect(),
            every: Duration::from_secs(*every_s),
        })
    }

    pub(crate) fn engine(&self) -> engine::Settings {
        let settings = engine::Settings::default();
        let look_budget = self.aws.looks_per_second.map_or(settings.look_budget, engine::Budget::of);
        let rds = self.aws.rds_looks_per_second.unwrap_or(settings.rds_budget.per_second);
        let rds_budget = engine::Budget::of(rds.min(look_budget.per_second));
        let triage = self.automation.settings(self.triggers.clone());
        engine::Settings {
            lease: self.lease(),
            look_budget,
            rds_budget,
            keep: Duration::from_secs(24 * 3600 * u64::from(self.retention.days)),
            rehearse_every: self.readiness.every(),
            triage,
            policies: self.policies.clone(),
            public_url: self.public_url(),
            ..settings
        }
    }

    fn lease(&self) -> Duration {
        Duration::from_secs_f64(self.worker.lease_s)
    }
}

/// Links are made by adding a path to it, and cookies are sent over TLS alone where it says so.
fn is_address(url: &str) -> bool {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let sound = |c: char| !c.is_whitespace() && !matches!(c, '?' | '#' | '@');
    host.is_some_and(|host| !host.starts_with('/') && !host.is_empty() && host.chars().all(sound))
}

/// All links of pages begin at the root, and so do cookies: under a path of somebody else's host nothing would be found.
fn has_path(url: &str) -> bool {
    url.split_once("://").is_some_and(|(_, rest)| rest.trim_end_matches('/').contains('/'))
}

fn listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_in_deploy_is_read() {
        let sample = include_str!("../../../deploy/firebreak.yaml");
        let config = Config::parse(sample).unwrap();
        assert!(!config.inventory.fleets.is_empty());
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let e = format!("{:#}", Config::parse("inventory: {}\nlisten_on: 1\n").unwrap_err());
        assert!(e.contains("listen_on") && e.contains("line 2"), "{e}");
    }

    #[test]
    fn a_public_url_that_makes_no_links_is_a_mistake() {
        let parse = |url: &str| Config::parse(&format!("inventory: {{}}\npublic_url: \"{url}\"\n"));
        for sound in ["https://f.example.com", "http://127.0.0.1:8080/"] {
            assert!(parse(sound).is_ok(), "{sound}");
        }
        for wrong in [
            "f.example.com",
            "f.example.com:443",
            "HTTPS://f",
            "https://",
            "https:///x",
            "https://f?a=b",
            " https://f",
            "https://example.com/firebreak",
            "https://example.com/firebreak/",
        ] {
            let e = format!("{:#}", parse(wrong).unwrap_err());
            assert!(e.contains("public_url is"), "{wrong}: {e}");
        }
    }

    #[test]
    fn a_simulated_sns_is_believed_beside_a_simulated_aws_alone() {
        let hooks = "hooks: { sns: { topics: [a], simulated: { endpoint: \"http://127.0.0.1:1\", authority: a.pem } } }\n";
        let text = format!("inventory: {{}}\n{hooks}");
        let e = format!("{:#}", Config::parse(&text).unwrap_err());
        assert!(e.contains("hooks.sns.simulated"), "{e}");
        assert!(Config::parse(&format!("{text}aws: {{ endpoint: \"http://127.0.0.1:1\" }}\n")).is_ok());
    }
}
