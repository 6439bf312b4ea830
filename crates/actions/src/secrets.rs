//! Passwords and other secrets: read once at start, kept out of everything that is shown.
//!
//! A reference ([`SecretRef`]) may appear anywhere; the value only in a [`Secret`], which refuses to be printed. All that
//! are missing are reported together, each with the account that needs it, so that a first start fails once and not
//! once per password.

use std::collections::BTreeMap;
use std::fmt;

use domain::inventory::{Inventory, SecretRef};

use crate::Settings;

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the socket and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The secrets of an inventory and its settings, by reference.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeMap<SecretRef, Secret>);

impl Secrets {
    /// The secret behind a reference; `None` for one that nothing referred to when they were read.
    pub fn get(&self, reference: &SecretRef) -> Option<&Secret> {
        self.0.get(reference)
    }
}

/// Secrets that are referred to and that are not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} missing:\n  {}", if .0.len() == 1 { "a secret is" } else { "secrets are" }, .0.join("\n  "))]
pub struct MissingSecrets(
    /// One sentence for each: what is missing, what for, and what to do.
    pub Vec<String>,
);

/// Reads every secret that the inventory and the settings refer to.
pub fn resolve(inventory: &Inventory, settings: &Settings) -> Result<Secrets, MissingSecrets> {
    let mut wanted: BTreeMap<&SecretRef, Vec<String>> = BTreeMap::new();
    let mut want = |reference, what: String| wanted.entry(reference).or_default().push(what);
    for cluster in &inventory.clusters {
        let (user, id) = (&cluster.probe.user, &cluster.id);
        want(&cluster.probe.password, format!("the password of `{user}`, the login probe of cluster `{id}`"));
    }
    for fleet in &inventory.fleets {
        let (user, id) = (&fleet.admin.user, &fleet.id);
        want(&fleet.admin.password, format!("the password of `{user}`, the ProxySQL admin of fleet `{id}`"));
    }
    if let Some(page) = &settings.statuspage {
        want(&page.token, "the API token of Statuspage".into());
    }
    for (name, hook) in &settings.webhooks {
        want(&hook.secret, format!("the secret of the webhook `{name}`"));
    }

    let mut secrets = BTreeMap::new();
    let mut missing = Vec::new();
    for (reference, purposes) in wanted {
        match read(reference) {
            Ok(secret) => drop(secrets.insert(reference.clone(), secret)),
            Err(problem) => missing.push(format!("{problem}: it is {}", purposes.join("; "))),
        }
    }
    if missing.is_empty() { Ok(Secrets(secrets)) } else { Err(MissingSecrets(missing)) }
}

/// Reads one; why it is not there, in words that say what to do.
pub fn read(reference: &SecretRef) -> Result<Secret, String> {
    let value = match reference {
        SecretRef::Env(name) => std::env::var(name).map_err(|e| match e {
            std::env::VarError::NotPresent => format!("set the environment variable {name}"),
            std::env::VarError::NotUnicode(_) => {
                format!("the environment variable {name} is not UTF-8; set it again")
            }
        })?,
        SecretRef::File(path) => {
            let text =
                std::fs::read_to_string(path).map_err(|e| format!("make the file {path} readable ({e})"))?;
            text.strip_suffix('\n').map(|t| t.strip_suffix('\r').unwrap_or(t)).unwrap_or(&text).to_owned()
        }
    };
    // An empty secret is almost always a variable that a deployment forgot to fill.
    if value.is_empty() {
        return Err(match reference {
            SecretRef::Env(name) => format!("the environment variable {name} is empty; give it a value"),
            SecretRef::File(path) => format!("the file {path} is empty; put the secret into it"),
        });
    }
    Ok(Secret(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::inventory::{Cluster, Credentials, ProxyFleet};

    fn inventory(probe: SecretRef, admin: SecretRef) -> Inventory {
        let cluster = |id: &str| Cluster {
            id: id.into(),
            region: "us-east-1".into(),
            account: None,
            identifier: None,
            endpoint: "localhost".into(),
            port: 3306,
            customers_percent: 0.0,
            max_connections: 0,
            probe: Credentials { user: "probe".into(), password: probe.clone() },
        };
        Inventory {
            account: None,
            accounts: Vec::new(),
            clusters: vec![cluster("a"), cluster("b")],
            fleets: vec![ProxyFleet {
                id: "f".into(),
                region: "us-east-1".into(),
                account: None,
                group: "f".into(),
                target_group: None,
                port: 6033,
                admin_port: 6032,
                admin: Credentials { user: "admin".into(), password: admin },
                clusters: vec!["a".into(), "b".into()],
                backend_connections: 1000,
            }],
        }
    }

    #[test]
    fn all_that_are_missing_are_named_with_their_accounts() {
        let inventory = inventory(
            SecretRef::Env("FIREBREAK_TEST_SURELY_UNSET".into()),
            SecretRef::File("/nonexistent/admin".into()),
        );
        let error = resolve(&inventory, &Settings::default()).unwrap_err();
        assert_eq!(error.0.len(), 2, "{error}");
        let text = error.to_string();
        assert!(text.contains("FIREBREAK_TEST_SURELY_UNSET"), "{text}");
        assert!(text.contains("cluster `a`") && text.contains("cluster `b`"), "{text}");
        assert!(text.contains("/nonexistent/admin") && text.contains("fleet `f`"), "{text}");
    }

    #[test]
    fn a_file_loses_its_newline_and_is_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hunter2\n").unwrap();
        let reference = SecretRef::File(path.display().to_string());
        let secrets =
            resolve(&inventory(reference.clone(), reference.clone()), &Settings::default()).unwrap();
        assert_eq!(secrets.get(&reference).unwrap().expose(), "hunter2");
        assert!(!format!("{secrets:?}").contains("hunter2"));
        assert!(!secrets.get(&reference).unwrap().to_string().contains("hunter2"));
    }

    #[test]
    fn an_empty_file_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "\n").unwrap();
        let reference = SecretRef::File(path.display().to_string());
        assert!(resolve(&inventory(reference.clone(), reference), &Settings::default()).is_err());
    }
}
