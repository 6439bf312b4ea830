//! `auth`: a proxy that is believed when it says who somebody is, and a provider at which people sign in.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use domain::Role;
use serde::Deserialize;
use server::{Oidc, TrustedProxy};

use super::oidc::OidcKeys;

/// Who says who people are, besides sign-in links.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    /// The header in which a proxy names a person.
    #[serde(default)]
    proxy_header: Option<String>,
    /// The networks that it may come from.
    #[serde(default)]
    from: Vec<String>,
    /// What everybody may do whom it names; a viewer when absent.
    #[serde(default)]
    role: Option<Role>,
    /// What some may do instead.
    #[serde(default)]
    people: BTreeMap<String, Role>,
    /// A provider at which people sign in.
    #[serde(default)]
    oidc: Option<OidcKeys>,
}

impl Auth {
    /// The provider, if one is named.
    pub(crate) fn oidc(&self, public_url: &str) -> anyhow::Result<Option<Arc<Oidc>>> {
        self.oidc.as_ref().map(|keys| keys.open(public_url)).transpose()
    }

    /// The proxy, if one is named.
    pub(crate) fn proxy(&self) -> anyhow::Result<Option<TrustedProxy>> {
        let Some(header) = &self.proxy_header else {
            if self.from.is_empty() && self.people.is_empty() && self.role.is_none() {
                return Ok(None);
            }
            bail!("auth: says what a proxy may do, and not its header; name it under `proxy_header`");
        };
        let header = header.parse().with_context(|| format!("auth.proxy_header: `{header}` is no header"))?;
        let each = self.from.iter().map(|net| {
            net.parse().with_context(|| {
                format!("auth.from: `{net}` is no network; write 10.0.0.0/8, or 192.0.2.7/32 for one address")
            })
        });
        let from: Vec<_> = each.collect::<anyhow::Result<_>>()?;
        if from.is_empty() {
            bail!("auth.from: is empty, so that nobody would be believed; write the networks of the proxy");
        }
        let (role, people) = (self.role.unwrap_or(Role::Viewer), self.people.clone());
        Ok(Some(TrustedProxy { header, from, role, people }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Option<TrustedProxy>> {
        serde_saphyr::from_str::<Auth>(text)?.proxy()
    }

    #[test]
    fn a_proxy_is_believed_only_from_networks_that_are_written() {
        let proxy =
            read("proxy_header: X-Forwarded-User\nfrom: [10.0.0.0/8, ::1/128]\npeople: { ana: admin }")
                .unwrap()
                .unwrap();
        assert_eq!((proxy.from.len(), proxy.role, proxy.people["ana"]), (2, Role::Viewer, Role::Admin));
        assert!(read("{}").unwrap().is_none());
        for (wrong, says) in [
            ("proxy_header: X-Forwarded-User", "auth.from"),
            ("proxy_header: X-Forwarded-User\nfrom: [everywhere]", "`everywhere` is no network"),
            ("proxy_header: \"two words\"\nfrom: [10.0.0.0/8]", "is no header"),
            ("from: [10.0.0.0/8]", "proxy_header"),
        ] {
            let why = format!("{:#}", read(wrong).unwrap_err());
            assert!(why.contains(says), "{wrong}: {why}");
        }
    }
}
