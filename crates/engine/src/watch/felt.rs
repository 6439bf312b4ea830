//! The customers' error share, and where it is felt.
//!
//! Asked beside the rounds: a metrics store that hangs, as it may when everything does, holds no login back. What it answers is
//! kept when it comes, and the next round looks closer where customers see errors.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::action::ActionError;
use domain::advice::FELT;
use serde_json::{Value, json};
use store::fleets::Sample;
use tokio::task::JoinSet;

use super::{METRICS, add, observe};
use crate::Core;

/// At most one question at a time; it ends with the prober.
#[derive(Default)]
pub(super) struct Felt(JoinSet<BTreeSet<String>>);

impl Felt {
    /// The clusters whose customers see errors, by what was answered since the last round; asks anew.
    pub(super) fn round(&mut self, core: &Arc<Core>, query: Option<&String>) -> BTreeSet<String> {
        let answered = std::iter::from_fn(|| self.0.try_join_next());
        let felt = answered.flat_map(Result::unwrap_or_default).collect();
        if let Some(query) = query
            && self.0.is_empty()
        {
            self.0.spawn(ask(core.clone(), query.clone()));
        }
        felt
    }
}

async fn ask(core: Arc<Core>, query: String) -> BTreeSet<String> {
    match error_shares(&core, &query).await {
        Ok(samples) => {
            add(&core, "error_share", &samples).await;
            let felt = samples.into_iter().filter(|sample| sample.value >= FELT);
            felt.map(|sample| sample.subject).collect()
        }
        Err(e) => {
            tracing::warn!("the customers' error share is not known: {e}");
            BTreeSet::new()
        }
    }
}

async fn error_shares(core: &Core, query: &str) -> Result<Vec<Sample>, ActionError> {
    let at = core.clock.now();
    let answer = observe(core, METRICS, json!({ "query": query })).await?;
    let samples = answer.get("samples").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(samples
        .iter()
        .filter_map(|sample| {
            let cluster = sample.pointer("/labels/cluster")?.as_str()?;
            let value = sample.get("value")?.as_f64().filter(|v| v.is_finite())?;
            Some(Sample { subject: cluster.to_owned(), at, value })
        })
        .collect())
}
