//! What the provider says of itself: its addresses (discovery) and its keys, fetched when they are needed and kept for a while.
//!
//! ```text
//!  a token with a key that is known ───▶ verified
//!  … that is not ─▶ fetched anew, a few times a minute at most ─▶ verified, or refused
//! ```
//!
//! So a provider may change its keys at any time, and nobody who is signed in notices; and somebody who sends tokens with made-up keys
//! makes us ask a few times a minute and no more. What could not be fetched is tried again with the next sign-in: those who are signed in
//! need none of it.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use domain::Timestamp;
use domain::identity::{Question, Reply};
use serde::Deserialize;
use serde_json::Value;
use url::{Host, Url};

use super::jws::{self, Algorithm, Key, Token};
use super::{Oidc, Refusal};

/// So long what it says of itself is believed; keys that it takes back are good for so long at most.
const KEPT: TimeDelta = TimeDelta::hours(1);
/// So often keys are fetched within [`WINDOW`], whatever is shown to us.
const FETCHES: u32 = 6;
const WINDOW: TimeDelta = TimeDelta::minutes(1);

/// What discovery tells.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    /// Who it is.
    pub issuer: String,
    /// Where people are sent to sign in.
    pub authorization_endpoint: String,
    /// Where a code becomes tokens.
    pub token_endpoint: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Where claims are told that the token leaves out.
    pub userinfo_endpoint: Option<String>,
    /// Where people are sent to sign out.
    pub end_session_endpoint: Option<String>,
    /// How we may prove ourselves to it.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// It says in each answer who it is.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

/// What is known of it now.
#[derive(Debug, Default)]
pub(super) struct Cache {
    known: Mutex<Known>,
    /// One asks at a time; the others take what it brings.
    fetch: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    metadata: Option<(Timestamp, Arc<Metadata>)>,
    keys: Option<(Timestamp, Arc<Vec<Key>>)>,
    window: Option<(Timestamp, u32)>,
}

impl Known {
    /// May keys be fetched once more?
    fn may_fetch(&mut self, now: Timestamp) -> bool {
        let (began, count) = self.window.filter(|(began, _)| now - *began < WINDOW).unwrap_or((now, 0));
        self.window = Some((began, count + 1));
        count < FETCHES
    }
}

/// Encrypted, or on this machine alone.
pub fn is_safe(address: &str) -> bool {
    let Ok(address) = Url::parse(address) else { return false };
    let here = match address.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    address.scheme() == "https" || address.scheme() == "http" && here
}

impl Oidc {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.cache.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it says of itself. Nothing is believed of a provider that calls itself something else.
    pub async fn metadata(&self) -> Result<Arc<Metadata>, Refusal> {
        let kept = |known: &Known, now: Timestamp| {
            known.metadata.as_ref().filter(|(at, _)| now - *at < KEPT).map(|(_, metadata)| metadata.clone())
        };
        let now = self.clock.now();
        if let Some(metadata) = kept(&self.known(), now) {
            return Ok(metadata);
        }
        let _alone = self.cache.fetch.lock().await;
        if let Some(metadata) = kept(&self.known(), now) {
            return Ok(metadata);
        }
        let address =
            format!("{}/.well-known/openid-configuration", self.settings.issuer.trim_end_matches('/'));
        let reply = self.asked(Question::get(&address)).await?;
        let metadata = self.read_metadata(&address, &reply)?;
        self.known().metadata = Some((now, metadata.clone()));
        Ok(metadata)
    }

    /// Looks at it, as signing in would: its description and its keys. What time it is there, if it says so.
    pub async fn look(&self) -> Result<Option<Timestamp>, Refusal> {
        let metadata = self.metadata().await?;
        let reply = self.asked(Question::get(&metadata.jwks_uri)).await?;
        let set: Option<Value> = serde_json::from_slice(&reply.body).ok();
        let keys = set.as_ref().and_then(jws::keys).unwrap_or_default();
        if !keys.iter().any(|key| self.algorithms().iter().any(|algorithm| key.fits(*algorithm))) {
            let taken: Vec<_> = self.algorithms().iter().map(ToString::to_string).collect();
            let (at, taken) = (&metadata.jwks_uri, taken.join(", "));
            return Err(Refusal::Provider(format!(
                "{at} holds no key of a signature that is taken here ({taken})"
            )));
        }
        let date = reply.date.and_then(|date| DateTime::parse_from_rfc2822(&date).ok());
        Ok(date.map(|date| date.with_timezone(&Utc)))
    }

    fn read_metadata(&self, address: &str, reply: &Reply) -> Result<Arc<Metadata>, Refusal> {
        let read: Result<Metadata, _> = serde_json::from_slice(&reply.body);
        let metadata =
            read.map_err(|e| Refusal::Provider(format!("what {address} tells is not understood: {e}")))?;
        if metadata.issuer != self.settings.issuer {
            let (is, says) = (&self.settings.issuer, &metadata.issuer);
            return Err(Refusal::Provider(format!(
                "the provider at {is} calls itself {says}; write that as its issuer, if it is right"
            )));
        }
        let endpoints = [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri];
        let more = [&metadata.userinfo_endpoint, &metadata.end_session_endpoint];
        if let Some(open) =
            endpoints.into_iter().chain(more.into_iter().flatten()).find(|address| !is_safe(address))
        {
            return Err(Refusal::Provider(format!("the provider names {open}, which is not encrypted")));
        }
        Ok(Arc::new(metadata))
    }

    /// The key that has signed a token.
    pub(super) async fn key(&self, token: &Token<'_>) -> Result<Key, Refusal> {
        let known = self.known().keys.clone();
        let now = self.clock.now();
        let fresh = known.as_ref().filter(|(at, _)| now - *at < KEPT);
        if let Some(key) = fresh.and_then(|(_, keys)| token.key(keys)) {
            return Ok(key.clone());
        }
        let metadata = self.metadata().await?;
        let _alone = self.cache.fetch.lock().await;
        let newer = self.known().keys.clone();
        // Somebody else has fetched them meanwhile.
        if newer.as_ref().map(|(at, _)| at) != known.as_ref().map(|(at, _)| at)
            && let Some(key) = newer.as_ref().and_then(|(_, keys)| token.key(keys))
        {
            return Ok(key.clone());
        }
        if !self.known().may_fetch(now) {
            return Err(jws::BadToken::UnknownKey.into());
        }
        let reply = self.asked(Question::get(&metadata.jwks_uri)).await?;
        let set: Option<Value> = serde_json::from_slice(&reply.body).ok();
        let keys = set
            .as_ref()
            .and_then(jws::keys)
            .ok_or_else(|| Refusal::Provider(format!("what {} holds are no keys", metadata.jwks_uri)))?;
        let found = token.key(&keys).cloned();
        self.known().keys = Some((now, Arc::new(keys)));
        found.ok_or_else(|| jws::BadToken::UnknownKey.into())
    }

    /// Asks, and takes nothing but an answer.
    pub(super) async fn asked(&self, question: Question) -> Result<Reply, Refusal> {
        let address = question.address.clone();
        let reply = (self.ask)(question)
            .await
            .map_err(|why| Refusal::Provider(format!("{address} could not be asked: {why}")))?;
        if reply.status == 200 {
            return Ok(reply);
        }
        // What it says is for its client, and may be told: an error code and a sentence (RFC 6749 5.2).
        let said: Option<Value> = serde_json::from_slice(&reply.body).ok();
        let word = |name: &str| {
            said.as_ref()?.get(name)?.as_str().map(|word| word.chars().take(200).collect::<String>())
        };
        let words =
            [word("error"), word("error_description")].into_iter().flatten().collect::<Vec<_>>().join(": ");
        Err(Refusal::Provider(format!("{address} answers {} {words}", reply.status).trim_end().to_owned()))
    }

    /// Which signatures are taken.
    pub(super) fn algorithms(&self) -> &[Algorithm] {
        &self.settings.algorithms
    }
}
