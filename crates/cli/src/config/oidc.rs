//! `auth.oidc`: a provider at which people sign in.

use std::collections::BTreeMap;
use std::sync::Arc;

use actions::secrets;
use anyhow::{Context as _, bail};
use chrono::TimeDelta;
use domain::Role;
use domain::identity::Grants;
use domain::inventory::SecretRef;
use engine::clock::SystemClock;
use serde::Deserialize;
use server::{Algorithm, Oidc, OidcSettings, is_safe};

/// More than a wrong clock; with it, tokens of yesterday would do.
const MOST_SKEW_S: u32 = 300;

/// A provider, as the file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcKeys {
    /// Its issuer identifier, to the letter.
    issuer: String,
    /// Our name there.
    client_id: String,
    /// Our password there; a public client has none.
    #[serde(default)]
    client_secret: Option<SecretRef>,
    /// On the button.
    #[serde(default)]
    name: Option<String>,
    /// What is asked for beside `openid`.
    #[serde(default = "scopes")]
    scopes: Vec<String>,
    /// The claim that says how people are called here.
    #[serde(default = "name_claim")]
    name_claim: String,
    /// The claim that lists their groups.
    #[serde(default = "groups_claim")]
    groups_claim: String,
    /// The role that a group gives.
    #[serde(default)]
    groups: BTreeMap<String, Role>,
    /// The role of everybody whom the provider knows; nobody's when absent.
    #[serde(default)]
    role: Option<Role>,
    /// How far the clocks of both may differ, in seconds.
    #[serde(default = "clock_skew_s")]
    clock_skew_s: u32,
    /// Which signatures are taken.
    #[serde(default)]
    algorithms: Option<Vec<String>>,
}

fn scopes() -> Vec<String> {
    ["email", "profile"].map(str::to_owned).into()
}

fn name_claim() -> String {
    "email".into()
}

fn groups_claim() -> String {
    "groups".into()
}

fn clock_skew_s() -> u32 {
    60
}

impl OidcKeys {
    /// The provider. Nothing is asked of it yet: it may be down while people are signed in.
    pub(crate) fn open(&self, public_url: &str) -> anyhow::Result<Arc<Oidc>> {
        let settings = self.settings(public_url)?;
        Ok(Arc::new(Oidc::new(settings, Arc::new(actions::provider()?), Arc::new(SystemClock))))
    }

    fn settings(&self, public_url: &str) -> anyhow::Result<OidcSettings> {
        let Self { issuer, client_id, groups, role, clock_skew_s, .. } = self;
        if !is_safe(issuer) {
            bail!(
                "auth.oidc.issuer: `{issuer}` is no https address; write the issuer that the provider's page of settings shows"
            );
        }
        if issuer.contains("/.well-known/") {
            bail!(
                "auth.oidc.issuer: `{issuer}` is the address of its description; write what stands before /.well-known/"
            );
        }
        if !is_safe(public_url) {
            bail!(
                "auth.oidc: public_url is {public_url}, and the provider would send people back to it unencrypted; put TLS in front, and write its https address"
            );
        }
        if client_id.trim().is_empty() {
            bail!("auth.oidc.client_id: is empty; write the id under which Firebreak is registered there");
        }
        for (key, claim) in [("name_claim", &self.name_claim), ("groups_claim", &self.groups_claim)] {
            if claim.trim().is_empty() {
                bail!("auth.oidc.{key}: is empty; write the name of a claim, or leave it out");
            }
        }
        if groups.is_empty() && role.is_none() {
            bail!(
                "auth.oidc.groups: is empty and there is no `role`, so that nobody would get in; write which group gives which role, such as {{ oncall: responder }}"
            );
        }
        if *clock_skew_s > MOST_SKEW_S {
            bail!(
                "auth.oidc.clock_skew_s: is {clock_skew_s}; write at most {MOST_SKEW_S}, and let NTP keep the clock"
            );
        }
        let algorithms = match &self.algorithms {
            None => Algorithm::USUAL.to_vec(),
            Some(names) if names.is_empty() => {
                bail!("auth.oidc.algorithms: is empty, so that no token would be believed; leave it out");
            }
            Some(names) => {
                let each = names.iter().map(|name| name.parse::<Algorithm>().context("auth.oidc.algorithms"));
                each.collect::<anyhow::Result<_>>()?
            }
        };
        let secret = match &self.client_secret {
            None => None,
            Some(reference) => Some(
                secrets::read(reference).map_err(|why| anyhow::anyhow!("auth.oidc.client_secret: {why}"))?,
            ),
        };
        Ok(OidcSettings {
            name: self.name.clone().unwrap_or_else(|| "your provider".into()),
            issuer: issuer.clone(),
            client: client_id.clone(),
            secret: secret.map(|secret| secret.expose().to_owned()),
            scopes: self.scopes.clone(),
            name_claim: self.name_claim.clone(),
            groups_claim: self.groups_claim.clone(),
            grants: Grants { groups: groups.clone(), everybody: *role },
            skew: TimeDelta::seconds(i64::from(*clock_skew_s)),
            algorithms,
            public_url: public_url.trim_end_matches('/').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "issuer: https://id.example.com\nclient_id: firebreak\n";

    fn read(text: &str) -> anyhow::Result<OidcSettings> {
        serde_saphyr::from_str::<OidcKeys>(text)?.settings("https://firebreak.example.com/")
    }

    #[test]
    fn what_is_left_out_is_what_providers_do() {
        let settings = read(&format!("{GOOD}groups: {{ oncall: responder, leads: admin }}\n")).unwrap();
        assert_eq!(settings.grants.groups["leads"], Role::Admin);
        assert_eq!((settings.grants.everybody, settings.secret), (None, None), "the rest gets in nowhere");
        assert_eq!((settings.name_claim.as_str(), settings.groups_claim.as_str()), ("email", "groups"));
        assert_eq!(settings.public_url, "https://firebreak.example.com");
        assert_eq!(settings.algorithms, Algorithm::USUAL);
    }

    #[test]
    fn a_mistake_says_where_and_what_to_write() {
        let with = |more: &str| format!("{GOOD}role: viewer\n{more}");
        for (text, says) in [
            (GOOD.to_owned(), "auth.oidc.groups"),
            (with("").replace("https", "http"), "no https address"),
            (
                with("").replace("example.com", "example.com/.well-known/openid-configuration"),
                "before /.well-known/",
            ),
            (with("").replace("firebreak", "''"), "client_id"),
            (with("clock_skew_s: 301"), "at most 300"),
            (with("algorithms: [none]"), "`none` is no signature that is taken; there are RS256"),
            (with("algorithms: [HS256]"), "`HS256` is no signature"),
            (with("algorithms: []"), "leave it out"),
            (with("groups_claim: ''"), "groups_claim"),
            (with("client_secret: { env: FIREBREAK_NO_SUCH_SECRET }"), "auth.oidc.client_secret"),
            (with("client-secret: x"), "client-secret"),
        ] {
            let why = format!("{:#}", read(&text).err().unwrap_or_else(|| panic!("{text}: is taken")));
            assert!(why.contains(says), "{text}: {why}");
        }
        let open =
            serde_saphyr::from_str::<OidcKeys>(&with("")).unwrap().settings("http://firebreak.example.com");
        assert!(format!("{:#}", open.err().unwrap()).contains("public_url"));
    }
}
