//! Triggers: which signals a runbook may be the answer to, and with which inputs.
//!
//! ```yaml
//! triggers:
//!   - name: logins-fail
//!     where: signal.kind == "logins_fail" && signal.labels.direct == "ok"
//!     inputs: { fleet: "${signal.labels.fleet}", cluster: "${signal.labels.cluster}" }
//!     mode: ask          # shadow | ask | auto
//!     cooldown: 30m      # after the end of any run of this runbook on the same targets
//! ```
//!
//! `where` and `inputs` see `signal` (`source`, `kind`, `severity`, `summary`, `labels`) and `inventory`. A label that a signal
//! does not have is empty text.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::expr::path::{Path, Seg};
use super::{EvalError, Expr, Pos, Scope, Template};
use crate::signal::Signal;

/// How far a trigger may go by itself: the ladder of trust.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Writes down what it would have done.
    #[default]
    Shadow,
    /// Prepares the plan; a person starts it.
    Ask,
    /// Starts it.
    Auto,
}

/// What starts a runbook, or offers it, by itself.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// Its name, unique within the runbook.
    pub name: String,
    /// `where:` — is this signal one for it? Sees `signal`.
    pub condition: Expr,
    /// `inputs:` — the runbook's inputs: a record. Sees `signal`.
    pub inputs: Template,
    /// How far it may go.
    pub mode: Mode,
    /// So long a rest from the end of the last run of this runbook on the same targets, whoever asked for that run.
    pub cooldown: Duration,
    /// Where its name stands in the file.
    pub pos: Pos,
}

/// Long enough for a cause to show again, short enough not to sleep through the night.
pub(super) const COOLDOWN: Duration = Duration::from_secs(30 * 60);

impl Trigger {
    /// Is this signal one for it?
    pub fn matches(&self, signal: &Signal, inventory: &Arc<Value>) -> Result<bool, EvalError> {
        self.condition.test(&self.scope(signal, inventory))
    }

    /// What of a signal its condition looks at: of two in which that is the same it thinks the same.
    pub fn looks_at(&self, signal: &Signal) -> Value {
        let part = |path: &Path| match (path.first_field(), path.segs.get(1).map(|part| &part.seg)) {
            (Some("labels"), Some(Seg::Field(name))) => {
                signal.labels.get(name).map_or("", String::as_str).into()
            }
            (Some("source"), _) => signal.source.as_str().into(),
            (Some("kind"), _) => signal.kind.as_str().into(),
            (Some("severity"), _) => signal.severity.as_deref().unwrap_or_default().into(),
            _ => signal.value([]),
        };
        self.condition.paths().iter().filter(|path| path.root == "signal").map(part).collect()
    }

    /// The inputs that it gives for this signal, as a person would give them.
    pub fn given(&self, signal: &Signal, inventory: &Arc<Value>) -> Result<Map<String, Value>, EvalError> {
        let given = self.inputs.eval(&self.scope(signal, inventory))?;
        Ok(given.as_object().cloned().unwrap_or_default())
    }

    fn scope(&self, signal: &Signal, inventory: &Arc<Value>) -> Scope {
        let mut exprs = vec![&self.condition];
        self.inputs.each_expr(&mut |expr| exprs.push(expr));
        let labels = exprs.into_iter().flat_map(Expr::paths).filter_map(|path| {
            match (path.root.as_str(), path.first_field(), path.segs.get(1).map(|part| &part.seg)) {
                ("signal", Some("labels"), Some(Seg::Field(name))) => Some(name.as_str()),
                _ => None,
            }
        });
        let signal = Some(Arc::new(signal.value(labels)));
        Scope { inventory: inventory.clone(), signal, ..Scope::default() }
    }
}

impl Mode {
    /// Its word, as files and pages write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Ask => "ask",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        [Self::Shadow, Self::Ask, Self::Auto]
            .into_iter()
            .find(|mode| mode.word() == word)
            .ok_or_else(|| format!("`{word}` is no mode; write shadow, ask or auto"))
    }
}
