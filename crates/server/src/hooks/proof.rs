//! How a delivery proves who sent it: a token in a header, or a signature over the raw bytes. Every comparison takes the same time
//! whatever is wrong with what is compared.

use std::fmt;

use axum::http::HeaderMap;
use domain::Clock as _;
use engine::clock::SystemClock;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::Source;

/// A signed time may differ so much from ours, in seconds: long enough for a slow queue, short enough for a replay to be late.
const WINDOW_S: i64 = 300;

/// What both sides know. Never shown.
#[derive(Clone)]
pub struct Secret(String);

/// How a source proves itself.
#[derive(Debug, Clone)]
pub enum Proof {
    /// `Authorization: Bearer <token>`, or `X-Firebreak-Token: <token>`.
    Token(Secret),
    /// A signature, by any of these: several while one is replaced by another.
    Signed(Vec<Secret>),
}

impl Secret {
    /// From text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, to check a signature with.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Proof {
    /// Why it proves nothing, in words that help an operator and tell nobody a secret.
    pub(super) fn check(&self, source: Source, headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
        match self {
            Self::Token(secret) => token(secret, headers),
            Self::Signed(secrets) => match source {
                Source::PagerDuty => pagerduty(secrets, headers, body),
                Source::Grafana => grafana(secrets, headers, body),
                _ => generic(secrets, headers, body, SystemClock.now().timestamp()),
            },
        }
    }

    /// Why what comes with it cannot prove it, whatever is in its body: known before that is read.
    pub(super) fn carried(&self, source: Source, headers: &HeaderMap) -> Result<(), &'static str> {
        match self {
            Self::Token(secret) => token(secret, headers),
            Self::Signed(_) => match source {
                Source::PagerDuty => by_pagerduty(headers).map(drop),
                Source::Grafana => by_grafana(headers).map(drop),
                _ => by_generic(headers, SystemClock.now().timestamp()).map(drop),
            },
        }
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

fn token(secret: &Secret, headers: &HeaderMap) -> Result<(), &'static str> {
    let bearer = header(headers, "authorization").and_then(|value| value.strip_prefix("Bearer "));
    let given = bearer.or(header(headers, "x-firebreak-token")).ok_or("it carries no token")?;
    // Hashes are compared, so that the time it takes tells nothing of the token.
    let same = Sha256::digest(given.trim()) == Sha256::digest(&secret.0);
    if same && !secret.0.is_empty() { Ok(()) } else { Err("its token is another one") }
}

/// `X-Firebreak-Timestamp: 1715093000` and `X-Firebreak-Signature: v1=<hex>`: HMAC-SHA256 of `timestamp.body`.
pub(super) fn generic(
    secrets: &[Secret],
    headers: &HeaderMap,
    body: &[u8],
    now: i64,
) -> Result<(), &'static str> {
    let (sent, given) = by_generic(headers, now)?;
    signed(secrets, &[sent.as_bytes(), b".", body], [given])
}

fn by_generic(headers: &HeaderMap, now: i64) -> Result<(&str, &str), &'static str> {
    let sent = header(headers, "x-firebreak-timestamp").ok_or("it has no X-Firebreak-Timestamp")?;
    let at: i64 = sent.parse().map_err(|_| "its X-Firebreak-Timestamp is no number of seconds")?;
    if now.abs_diff(at) > WINDOW_S.unsigned_abs() {
        return Err("its X-Firebreak-Timestamp is more than five minutes off");
    }
    let given = header(headers, "x-firebreak-signature").ok_or("it has no X-Firebreak-Signature")?;
    let given = given.strip_prefix("v1=").ok_or("its X-Firebreak-Signature does not begin with v1=")?;
    Ok((sent, given))
}

/// `X-PagerDuty-Signature: v1=<hex>[,v1=<hex>…]` over the body; any of them will do.
fn pagerduty(secrets: &[Secret], headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
    let given = by_pagerduty(headers)?;
    signed(secrets, &[body], given.split(',').filter_map(|one| one.trim().strip_prefix("v1=")))
}

fn by_pagerduty(headers: &HeaderMap) -> Result<&str, &'static str> {
    header(headers, "x-pagerduty-signature").ok_or("it has no X-PagerDuty-Signature")
}

/// `X-Grafana-Alerting-Signature: <hex>` over the body.
fn grafana(secrets: &[Secret], headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
    signed(secrets, &[body], [by_grafana(headers)?])
}

fn by_grafana(headers: &HeaderMap) -> Result<&str, &'static str> {
    header(headers, "x-grafana-alerting-signature").ok_or("it has no X-Grafana-Alerting-Signature")
}

fn signed<'g>(
    secrets: &[Secret],
    parts: &[&[u8]],
    given: impl IntoIterator<Item = &'g str>,
) -> Result<(), &'static str> {
    let given: Vec<Vec<u8>> = given.into_iter().filter_map(|hex| hex::decode(hex).ok()).collect();
    let mut proven = false;
    for secret in secrets.iter().filter(|secret| !secret.0.is_empty()) {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.0.as_bytes()) else { continue };
        parts.iter().for_each(|part| mac.update(part));
        // Constant-time, each.
        proven |= given.iter().any(|given| mac.clone().verify_slice(given).is_ok());
    }
    if proven { Ok(()) } else { Err("its signature is not one of the secret that is configured") }
}
