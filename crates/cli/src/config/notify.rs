//! Where people elsewhere are told.

use std::collections::BTreeMap;

use actions::notify::{ChannelKind, ChannelSettings, Tls, channels};
use actions::secrets::{self, Secret};
use anyhow::{Context, bail};
use domain::inventory::SecretRef;
use domain::notice::{Channels, Urgency};
use serde::Deserialize;

/// Channels, by their names.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Notify(BTreeMap<String, ChannelKeys>);

/// One channel: exactly one of the kinds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelKeys {
    /// The least urgency that it is told of.
    #[serde(default)]
    least: Option<Urgency>,
    slack: Option<Slack>,
    mail: Option<Mail>,
    webhook: Option<Webhook>,
    pagerduty: Option<PagerDuty>,
    otlp: Option<Otlp>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slack {
    channel: String,
    token: SecretRef,
    /// For tests.
    api: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mail {
    host: String,
    port: Option<u16>,
    #[serde(default)]
    tls: Tls,
    user: Option<String>,
    password: Option<SecretRef>,
    from: String,
    to: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    url: String,
    secret: SecretRef,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PagerDuty {
    token: SecretRef,
    from: String,
    /// For tests, and for accounts of the EU: https://api.eu.pagerduty.com/
    api: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Otlp {
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, SecretRef>,
}

impl Notify {
    /// Reads the secrets and sets the channels up; calls nothing.
    pub(crate) fn open(&self, environment: Option<&str>) -> anyhow::Result<Channels> {
        let settings = self.0.iter().map(|(name, keys)| {
            let kind = keys.kind(name).with_context(|| format!("notify.{name}"))?;
            let least = keys.least.unwrap_or(Urgency::Info);
            Ok(ChannelSettings { name: name.clone(), least, kind })
        });
        let settings: Vec<_> = settings.collect::<anyhow::Result<_>>()?;
        Ok(channels(settings, environment)?)
    }
}

impl ChannelKeys {
    fn kind(&self, name: &str) -> anyhow::Result<ChannelKind> {
        let Self { least, slack, mail, webhook, pagerduty, otlp } = self;
        match (slack, mail, webhook, pagerduty, otlp) {
            (Some(slack), None, None, None, None) => Ok(ChannelKind::Slack {
                api: slack.api.clone().unwrap_or_else(|| actions::notify::SLACK.into()),
                channel: slack.channel.clone(),
                token: read(&slack.token)?,
            }),
            (None, Some(mail), None, None, None) => mail.kind(),
            (None, None, Some(webhook), None, None) => {
                Ok(ChannelKind::Webhook { url: webhook.url.clone(), secret: read(&webhook.secret)? })
            }
            (None, None, None, Some(pagerduty), None) => Ok(ChannelKind::PagerDuty {
                api: pagerduty.api.clone().unwrap_or_else(|| actions::notify::PAGERDUTY.into()),
                token: read(&pagerduty.token)?,
                from: pagerduty.from.clone(),
            }),
            (None, None, None, None, Some(_)) if least.is_some() => {
                bail!("`{name}` is sent the trace of every run, so `least` says nothing there; leave it out")
            }
            (None, None, None, None, Some(otlp)) => {
                let headers = otlp.headers.iter().map(|(header, secret)| Ok((header.clone(), read(secret)?)));
                let headers = headers.collect::<anyhow::Result<_>>()?;
                Ok(ChannelKind::Otlp { url: otlp.url.clone(), headers })
            }
            _ => bail!("`{name}` must be exactly one of slack, mail, webhook, pagerduty and otlp"),
        }
    }
}

impl Mail {
    fn kind(&self) -> anyhow::Result<ChannelKind> {
        let login = match (&self.user, &self.password) {
            (Some(user), Some(password)) => Some((user.clone(), read(password)?)),
            (None, None) => None,
            _ => bail!("`user` and `password` go together"),
        };
        let port = self.port.unwrap_or(match self.tls {
            Tls::Implicit => 465,
            Tls::Starttls => 587,
            Tls::None => 25,
        });
        let (host, tls) = (self.host.clone(), self.tls);
        Ok(ChannelKind::Mail { host, port, tls, login, from: self.from.clone(), to: self.to.clone() })
    }
}

fn read(reference: &SecretRef) -> anyhow::Result<Secret> {
    secrets::read(reference).map_err(anyhow::Error::msg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(yaml: &str) -> Result<Vec<String>, String> {
        let notify: Notify = serde_saphyr::from_str(yaml).map_err(|e| e.to_string())?;
        notify.open(None).map(|channels| channels.into_keys().collect()).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn a_channel_is_one_thing_and_its_mistakes_name_it() {
        let local =
            "relay: { mail: { host: 127.0.0.1, tls: none, from: f@example.com, to: [o@example.com] } }";
        assert_eq!(opened(local).unwrap(), ["relay"]);
        assert_eq!(opened("c: { otlp: { url: 'http://collector:4318/v1/traces' } }").unwrap(), ["c"]);
        for (yaml, says) in [
            ("x: { least: bad }", "notify.x: `x` must be exactly one of"),
            ("x: { mail: { host: h, from: f@example.com, to: [] } }", "notify.x: `to` is empty"),
            ("x: { mail: { host: h, from: nobody, to: [o@example.com] } }", "`nobody` is no mail address"),
            (
                "x: { mail: { host: h, user: u, from: f@e.com, to: [o@e.com] } }",
                "`user` and `password` go together",
            ),
            ("x: { webhook: { url: 'http://example.com', secret: { env: PATH } } }", "is not https"),
            (
                "x: { otlp: { url: 'http://collector:4318' } }",
                "has no path; for most collectors it is /v1/traces",
            ),
            (
                "x: { otlp: { url: 'http://collector:4318/v1/traces', headers: { authorization: { env: PATH } } } }",
                "is not https",
            ),
            ("x: { least: bad, otlp: { url: 'http://c:4318/v1/traces' } }", "`least` says nothing there"),
            ("x: { slack: { channel: '', token: { env: PATH } } }", "`channel` is empty"),
            (
                "x: { slack: { channel: C1, token: { env: FIREBREAK_TEST_UNSET } } }",
                "set the environment variable FIREBREAK_TEST_UNSET",
            ),
            ("x: { least: loud, webhook: { url: 'https://e.com', secret: { env: PATH } } }", "loud"),
        ] {
            let error = opened(yaml).unwrap_err();
            assert!(error.contains(says), "{yaml}: {error}");
        }
    }
}
