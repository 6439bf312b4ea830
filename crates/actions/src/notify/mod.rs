//! Where people elsewhere are told: one file for each kind of channel.
//!
//! ```text
//!  engine::outbox ──▶ Channel::send ──▶ ONE request ──▶ there (with a receipt) · surely not: later · nobody knows: Channel::find
//! ```
//!
//! | Channel | Told twice? | How a lost answer is cleared up |
//! |---|---|---|
//! | Slack | never | the newest messages are read: each carries its id as metadata |
//! | PagerDuty | never | the incident's notes are read: each ends with its id |
//! | webhook | the receiver knows its id | sent again under the same id |
//! | collector of traces | the same ids | sent again |
//! | mail | never | it cannot be: said to be unclear, and not sent again |
//!
//! A request that never reached the other side (no connection, a refusal in so many words) is not an unknown outcome.

pub(crate) mod http;
mod mail;
mod otlp;
mod pagerduty;
mod slack;
mod webhook;

use std::sync::Arc;

use domain::notice::{Channel, Channels, Urgency};

use crate::secrets::Secret;

pub use mail::Tls;

/// Slack's own address.
pub const SLACK: &str = "https://slack.com/api/";
/// PagerDuty's own address; accounts of the EU have another.
pub const PAGERDUTY: &str = "https://api.pagerduty.com/";

/// One channel, as it is configured.
#[derive(Debug, Clone)]
pub struct ChannelSettings {
    /// Its name.
    pub name: String,
    /// The least urgency that it is told of.
    pub least: Urgency,
    /// What and where it is.
    pub kind: ChannelKind,
}

/// What a channel is.
#[derive(Debug, Clone)]
pub enum ChannelKind {
    /// A Slack channel, by a bot's token (scopes `chat:write` and, to clear up lost answers, `channels:history`).
    Slack {
        /// The API's base URL; Slack's own unless for tests.
        api: String,
        /// The channel's id.
        channel: String,
        /// `xoxb-…`
        token: Secret,
    },
    /// Mail, by SMTP.
    Mail {
        /// The server.
        host: String,
        /// Its port.
        port: u16,
        /// How the connection is protected.
        tls: Tls,
        /// Who signs in there, if anybody must.
        login: Option<(String, Secret)>,
        /// The sender's address.
        from: String,
        /// The addresses of those who are told.
        to: Vec<String>,
    },
    /// A signed webhook.
    Webhook {
        /// Its address.
        url: String,
        /// What it is signed with.
        secret: Secret,
    },
    /// Notes on PagerDuty's own incidents, where a signal of PagerDuty belongs to ours.
    PagerDuty {
        /// The API's base URL; PagerDuty's own unless for tests.
        api: String,
        /// A REST API key.
        token: Secret,
        /// The mail address of the user in whose name notes are written.
        from: String,
    },
    /// A collector of traces, by OTLP over HTTP: sent each run that has ended, and told nothing else.
    Otlp {
        /// Its address with the path, such as `http://collector:4318/v1/traces`.
        url: String,
        /// Headers that let us in, where it asks for any.
        headers: Vec<(String, Secret)>,
    },
}

/// Why a channel could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("notify.{name}: {why}")]
pub struct BadChannel {
    /// Which.
    pub name: String,
    /// What is wrong with it.
    pub why: String,
}

/// All channels, ready to use; nothing is called yet. `environment` is named in every message, so that a drill is no alarm.
pub fn channels(
    settings: impl IntoIterator<Item = ChannelSettings>,
    environment: Option<&str>,
) -> Result<Channels, BadChannel> {
    // As `registry` does: whoever comes first decides the process's TLS provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut channels = Channels::new();
    for ChannelSettings { name, least, kind } in settings {
        let wrong = |why: String| BadChannel { name: name.clone(), why };
        let voice = Voice { least, environment: environment.map(str::to_owned) };
        let channel: Arc<dyn Channel> = match kind {
            ChannelKind::Slack { api, channel, token } => {
                Arc::new(slack::Slack::new(voice, &api, channel, token).map_err(wrong)?)
            }
            ChannelKind::Mail { host, port, tls, login, from, to } => {
                Arc::new(mail::Mail::new(voice, (host, port, tls), login, from, to).map_err(wrong)?)
            }
            ChannelKind::Webhook { url, secret } => {
                Arc::new(webhook::Webhook::new(voice, &url, secret).map_err(wrong)?)
            }
            ChannelKind::PagerDuty { api, token, from } => {
                Arc::new(pagerduty::PagerDuty::new(voice, &api, token, from).map_err(wrong)?)
            }
            ChannelKind::Otlp { url, headers } => {
                Arc::new(otlp::Otlp::new(voice, &url, headers).map_err(wrong)?)
            }
        };
        channels.insert(name, channel);
    }
    Ok(channels)
}

/// What every channel has in common.
#[derive(Debug, Clone)]
struct Voice {
    least: Urgency,
    environment: Option<String>,
}

impl Voice {
    /// With the environment in front.
    fn title(&self, title: &str) -> String {
        match &self.environment {
            Some(environment) => format!("[{environment}] {title}"),
            None => title.to_owned(),
        }
    }
}
