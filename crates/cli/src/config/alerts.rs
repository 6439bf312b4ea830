//! What machines may say, and how far rules may go by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use domain::inventory::{Inventory, SecretRef};
use domain::runbook::{Mode, suggest};
use domain::triage::Budget;
use engine::TriageSettings;
use serde::Deserialize;
use server::{Authority, Hooks, Proof, Secret, Sns, Source};

/// Without a person.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Automation {
    /// Starts by one rule within an hour.
    pub(crate) per_rule: usize,
    /// Starts on one target within an hour.
    pub(crate) per_target: usize,
    /// Starts by all rules within an hour.
    pub(crate) in_all: usize,
    /// More targets than this struck within five minutes are a storm.
    pub(crate) storm: usize,
    /// Seconds after the start of a process in which it starts nothing by itself.
    pub(crate) warm_up_s: u64,
    /// An incident is over when its signals have been for so many seconds.
    pub(crate) quiet_s: u64,
}

impl Default for Automation {
    fn default() -> Self {
        let (budget, triage) = (Budget::default(), TriageSettings::default());
        Self {
            per_rule: budget.per_rule,
            per_target: budget.per_target,
            in_all: budget.in_all,
            storm: budget.storm,
            warm_up_s: triage.warm_up.as_secs(),
            quiet_s: triage.quiet.as_secs(),
        }
    }
}

impl Automation {
    pub(crate) fn settings(self, modes: BTreeMap<String, Mode>) -> TriageSettings {
        let Self { per_rule, per_target, in_all, storm, warm_up_s, quiet_s } = self;
        TriageSettings {
            modes,
            all: None,
            budget: Budget { per_rule, per_target, in_all, storm },
            warm_up: Duration::from_secs(warm_up_s),
            quiet: Duration::from_secs(quiet_s),
        }
    }
}

/// Alarms of CloudWatch that are read, whether or not somebody tells of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Alarms {
    /// Which, where.
    pub(crate) of: Vec<AlarmsOf>,
    /// Seconds between two readings.
    pub(crate) every_s: u64,
}

impl Default for Alarms {
    fn default() -> Self {
        Self { of: Vec::new(), every_s: 5 * 60 }
    }
}

/// Alarms of CloudWatch in one account and region.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlarmsOf {
    region: String,
    /// By its name in the inventory; needed only where the region is used in several.
    account: Option<String>,
    /// Only those whose names begin with this.
    prefix: Option<String>,
}

impl AlarmsOf {
    /// As `cloudwatch.describe_alarms` is asked.
    pub(crate) fn question(&self) -> serde_json::Value {
        serde_json::json!({ "region": self.region, "account": self.account, "prefix": self.prefix })
    }

    /// Why they cannot be read, or are none: the place is not one that the inventory knows.
    pub(crate) fn mistake(&self, inventory: &Inventory) -> Option<String> {
        let (region, accounts) = (&self.region, &inventory.accounts);
        let clusters = inventory.clusters.iter().map(|c| (&c.region, &c.account));
        let places: Vec<_> =
            clusters.chain(inventory.fleets.iter().map(|f| (&f.region, &f.account))).collect();
        let here: BTreeSet<_> =
            places.iter().filter(|(r, _)| *r == region).map(|(_, account)| account).collect();
        let near = |word, known: &mut dyn Iterator<Item = &str>| {
            suggest(word, known).map(|near| format!("; {near}")).unwrap_or_default()
        };
        match &self.account {
            Some(account) if inventory.account(account).is_none() => {
                let near = near(account, &mut accounts.iter().map(|a| a.id.as_str()));
                Some(format!("the inventory has no account `{account}`{near}"))
            }
            None if here.is_empty() => {
                let near = near(region, &mut places.iter().map(|(region, _)| region.as_str()));
                Some(format!("the inventory has nothing in `{region}`{near}"))
            }
            None if !accounts.is_empty() && here.len() > 1 => {
                Some(format!("`{region}` is used in {} accounts; name one by `account`", here.len()))
            }
            _ => None,
        }
    }
}

/// Alert sources that are open. What is not here is closed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HookKeys {
    alertmanager: Option<Token>,
    datadog: Option<Token>,
    eventbridge: Option<Token>,
    generic: Option<Signed>,
    grafana: Option<TokenOrSigned>,
    opsgenie: Option<Token>,
    pagerduty: Option<Signed>,
    sns: Option<Topics>,
}

/// SNS proves itself; what is configured is which of its topics are ours.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Topics {
    topics: Vec<String>,
    /// Only for a simulated AWS: whose certificates are believed instead of AWS's. Whoever has a key of that authority can say
    /// anything, and the simulator's keys are no secret.
    simulated: Option<SimulatedSns>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SimulatedSns {
    /// Certificates and confirmations are asked here, and nowhere else.
    endpoint: String,
    /// The authority's certificate, in PEM.
    authority: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    token: SecretRef,
}

/// Several secrets while one is replaced by another.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    secrets: Vec<SecretRef>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum TokenOrSigned {
    Token(Token),
    Signed(Signed),
}

impl HookKeys {
    /// The source that alarms of CloudWatch come by.
    pub(crate) fn tells_of_alarms(&self) -> &'static str {
        if self.sns.is_none() && self.eventbridge.is_some() { "eventbridge" } else { "sns" }
    }

    /// Reads the secrets. One that cannot be read keeps the process from starting: alerts would be refused in silence.
    pub(crate) fn open(&self) -> anyhow::Result<Hooks> {
        let Self { alertmanager, datadog, eventbridge, generic, grafana, opsgenie, pagerduty, sns } = self;
        let mut hooks = Hooks::default();
        let tokens = [
            (Source::Alertmanager, alertmanager),
            (Source::Datadog, datadog),
            (Source::EventBridge, eventbridge),
            (Source::Opsgenie, opsgenie),
        ];
        for (source, token) in tokens {
            if let Some(token) = token {
                hooks = hooks.with(source, token.proof(source)?);
            }
        }
        for (source, signed) in [(Source::Generic, generic), (Source::PagerDuty, pagerduty)] {
            if let Some(signed) = signed {
                hooks = hooks.with(source, signed.proof(source)?);
            }
        }
        match grafana {
            Some(TokenOrSigned::Token(token)) => {
                hooks = hooks.with(Source::Grafana, token.proof(Source::Grafana)?);
            }
            Some(TokenOrSigned::Signed(signed)) => {
                hooks = hooks.with(Source::Grafana, signed.proof(Source::Grafana)?);
            }
            None => {}
        }
        if let Some(sns) = sns {
            hooks = hooks.with_sns(sns.open().context("hooks.sns")?);
        }
        Ok(hooks)
    }

    /// Is there something that only a simulated AWS may have?
    pub(crate) fn are_simulated(&self) -> bool {
        self.sns.as_ref().is_some_and(|sns| sns.simulated.is_some())
    }
}

impl Topics {
    fn open(&self) -> anyhow::Result<Sns> {
        anyhow::ensure!(!self.topics.is_empty(), "`topics` is empty; name one by its ARN");
        let named = |topic: &&String| topic.starts_with("arn:") && topic.split(':').nth(2) == Some("sns");
        if let Some(wrong) = self.topics.iter().find(|topic| !named(topic)) {
            anyhow::bail!(
                "`{wrong}` is no topic; write it like arn:aws:sns:us-east-1:111122223333:incidents"
            );
        }
        let sns = Sns::new(self.topics.iter().cloned(), Arc::new(actions::fetch()?));
        let Some(SimulatedSns { endpoint, authority }) = &self.simulated else { return Ok(sns) };
        let place = || format!("simulated.authority: {}", authority.display());
        let pem = std::fs::read(authority).with_context(place)?;
        let authority = Authority::read(&pem).map_err(|e| anyhow::anyhow!("{}: it {e}", place()))?;
        sns.simulated(endpoint, authority).map_err(|e| anyhow::anyhow!("simulated.endpoint: {e}"))
    }
}

impl Token {
    fn proof(&self, source: Source) -> anyhow::Result<Proof> {
        Ok(Proof::Token(read(source, &self.token)?))
    }
}

impl Signed {
    fn proof(&self, source: Source) -> anyhow::Result<Proof> {
        anyhow::ensure!(!self.secrets.is_empty(), "hooks.{}: `secrets` is empty; name one", source.name());
        Ok(Proof::Signed(self.secrets.iter().map(|secret| read(source, secret)).collect::<Result<_, _>>()?))
    }
}

fn read(source: Source, secret: &SecretRef) -> anyhow::Result<Secret> {
    let place = format!("hooks.{}", source.name());
    let text = match secret {
        SecretRef::Env(name) => {
            std::env::var(name).with_context(|| format!("{place}: the environment has no {name}"))?
        }
        SecretRef::File(path) => std::fs::read_to_string(path)
            .with_context(|| format!("{place}: {path}"))?
            .trim_end_matches(['\n', '\r'])
            .to_owned(),
    };
    // An empty one would let everybody in, or nobody.
    anyhow::ensure!(text.len() >= 16, "{place}: the secret has fewer than 16 characters; make a longer one");
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_of_a_place_that_the_inventory_does_not_know_are_told_apart() {
        let role = |n| format!("{{ arn: \"arn:aws:iam::11112222333{n}:role/look\" }}");
        let account = |id, n| format!("{{ id: {id}, observe: {0}, act: {0} }}", role(n));
        let cluster = |id, region, account| {
            format!(
                "{{ id: {id}, region: {region}, account: {account}, endpoint: e, probe: {{ user: u, password: {{ env: P }} }} }}"
            )
        };
        let inventory = |accounts: &[String], clusters: &[String]| -> Inventory {
            let text = format!("accounts: [{}]\nclusters: [{}]\n", accounts.join(", "), clusters.join(", "));
            serde_saphyr::from_str(&text).unwrap()
        };
        let known = inventory(
            &[account("us", 3), account("eu", 4)],
            &[
                cluster("a", "us-east-1", "us"),
                cluster("b", "eu-west-1", "us"),
                cluster("c", "eu-west-1", "eu"),
            ],
        );
        let mistake = |of: &str| serde_saphyr::from_str::<AlarmsOf>(of).unwrap().mistake(&known);
        for sound in
            ["region: us-east-1", "{ region: eu-west-1, account: eu }", "{ region: sa-east-1, account: us }"]
        {
            assert_eq!(mistake(sound), None, "{sound}");
        }
        for (wrong, why) in [
            ("{ region: us-east-1, account: su }", "no account `su`; did you mean `us`?"),
            ("region: us-esat-1", "nothing in `us-esat-1`; did you mean `us-east-1`?"),
            ("region: eu-west-1", "used in 2 accounts"),
        ] {
            let told = mistake(wrong).unwrap_or_default();
            assert!(told.contains(why), "{wrong}: {told}");
        }
        let alone = inventory(&[], &[]);
        let of: AlarmsOf = serde_saphyr::from_str("region: us-east-1").unwrap();
        assert!(of.mistake(&alone).is_some());
    }
}
