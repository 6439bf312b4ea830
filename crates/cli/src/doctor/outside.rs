//! Does the outside answer this process: AWS for all that the inventory names, and the source of the symptom? Asked as the prober
//! asks, with the server's own credentials, roles and actions; whether it may also *change* something is not tried.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::action::{ActionError, Ctx, ErrorClass, Registry};
use engine::clock::SystemClock;
use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use super::Findings;
use crate::config::Config;
use crate::runbook;

/// How long one look may take (wall time).
const PATIENCE: Duration = Duration::from_secs(15);

/// So many looks go on at once: what AWS grants an account is for the server, too.
const AT_ONCE: usize = 4;

/// One look at something that the configuration names.
struct Look<'a> {
    /// Account and region.
    place: String,
    /// What it is called in the inventory.
    name: &'a str,
    action: &'static str,
    input: Value,
}

pub(super) async fn look(config: &Config, findings: &mut Findings) {
    // None of these looks needs a secret; that the actions cannot be set up is told with the runbooks.
    if let Ok(registry) = runbook::described(Some(config)).await {
        aws(config, &registry, findings).await;
        symptom(config, &registry, findings).await;
    }
}

async fn aws(config: &Config, registry: &Registry, findings: &mut Findings) {
    let place = |account: &Option<String>, region: &str| match account {
        Some(account) => format!("{region} of {account}"),
        None => region.to_owned(),
    };
    let fleets = config.inventory.fleets.iter().map(|fleet| Look {
        place: place(&fleet.account, &fleet.region),
        name: &fleet.id,
        action: "autoscaling.describe_group",
        input: json!({ "region": fleet.region, "group": fleet.group }),
    });
    let clusters = config.inventory.clusters.iter().map(|cluster| Look {
        place: place(&cluster.account, &cluster.region),
        name: &cluster.id,
        action: "rds.describe_cluster",
        input: json!({ "region": cluster.region, "cluster": cluster.id }),
    });
    let looks: Vec<Look<'_>> = fleets.chain(clusters).collect();
    let asked: Vec<_> = looks.iter().map(|look| ask(registry, look.action, &look.input)).collect();
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    // What keeps many from being seen is most often one thing.
    let mut unseen: BTreeMap<(&str, String), (Vec<&str>, ActionError)> = BTreeMap::new();
    for (look, answer) in looks.iter().zip(answers) {
        match answer {
            Ok(_) => *seen.entry(&look.place).or_default() += 1,
            Err(e) => {
                let same = (look.place.as_str(), e.code.clone());
                unseen.entry(same).or_insert_with(|| (Vec::new(), e)).0.push(look.name);
            }
        }
    }
    for (place, n) in seen {
        findings.ok("aws", format!("{place}: {n} of the inventory's fleets and clusters are seen"));
    }
    for ((place, _), (names, e)) in unseen {
        findings.fail("aws", format!("{place}: {} cannot be seen: {e}", names.join(", ")), &remedy(&e));
    }
}

fn remedy(e: &ActionError) -> String {
    e.remedy.clone().unwrap_or_else(|| {
        match e.class {
            ErrorClass::Gone => "correct its name, region or account in the inventory",
            ErrorClass::Refused => "give this process's role what `firebreak runbook permissions` prints",
            ErrorClass::Busy | ErrorClass::Transient | ErrorClass::Unknown => {
                "let this machine reach AWS, and ask again"
            }
        }
        .into()
    })
}

async fn symptom(config: &Config, registry: &Registry, findings: &mut Findings) {
    let Some(symptom) = &config.symptom else {
        return findings.warn(
            "symptom",
            "is not measured",
            "name a Prometheus under `symptom`: runs end when customers are well, not when the last call returned",
        );
    };
    let input = json!({ "query": symptom.error_share });
    match ask(registry, "metrics.query", &input).await {
        Ok(answer) if answer["samples"].as_array().is_some_and(|samples| !samples.is_empty()) => {
            findings.ok("symptom", format!("measured at {}", symptom.prometheus));
        }
        Ok(_) => findings.warn(
            "symptom",
            format!("{} answers, and knows nothing of `{}`", symptom.prometheus, symptom.error_share),
            "correct `symptom.error_share`: as it is, nobody can say that customers are well",
        ),
        Err(e) => {
            let remedy = "correct `symptom.prometheus`, or let this machine reach it";
            findings.fail("symptom", e.to_string(), e.remedy.as_deref().unwrap_or(remedy));
        }
    }
}

async fn ask(registry: &Registry, action: &'static str, input: &Value) -> Result<Value, ActionError> {
    let Some(action) = registry.get(action) else {
        return Err(ActionError::refused("unknown_action", format!("there is no action {action}")));
    };
    let ctx = Ctx::looking(Arc::new(SystemClock), PATIENCE);
    tokio::time::timeout(PATIENCE, action.observe(&ctx, input)).await.unwrap_or_else(|_| {
        let waited = format!("no answer within {} s", PATIENCE.as_secs());
        Err(ActionError::new(ErrorClass::Transient, "timeout", waited))
    })
}
