//! How Slack proves that it is Slack: HMAC-SHA256 over `v0:<time>:<raw body>`, and a time that is not old.

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::hooks::Secret;

/// A signed time may differ so much from ours, in seconds.
const WINDOW_S: u64 = 300;

/// The signature that was given, if it is Slack's, by any of these secrets (several while one is replaced by another); else why not,
/// in words that tell nobody a secret.
pub(super) fn check(
    secrets: &[Secret],
    headers: &HeaderMap,
    body: &[u8],
    now: i64,
) -> Result<Vec<u8>, &'static str> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let sent = header("x-slack-request-timestamp").ok_or("it has no X-Slack-Request-Timestamp")?;
    let at: i64 = sent.parse().map_err(|_| "its X-Slack-Request-Timestamp is no number of seconds")?;
    if now.abs_diff(at) > WINDOW_S {
        return Err("its X-Slack-Request-Timestamp is more than five minutes off");
    }
    let given = header("x-slack-signature").ok_or("it has no X-Slack-Signature")?;
    let given = given.strip_prefix("v0=").ok_or("its X-Slack-Signature does not begin with v0=")?;
    let given = hex::decode(given).map_err(|_| "its X-Slack-Signature is not written in hex")?;
    let mut proven = false;
    for secret in secrets.iter().filter(|secret| !secret.expose().is_empty()) {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { continue };
        for part in [b"v0:", sent.as_bytes(), b":", body] {
            mac.update(part);
        }
        // Constant-time.
        proven |= mac.verify_slice(&given).is_ok();
    }
    if proven { Ok(given) } else { Err("its signature is not one of the secret that is configured") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slack's own published example.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const AT: i64 = 1_531_420_618;
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    fn checked(at: &str, signature: &str, body: &str, now: i64) -> Result<Vec<u8>, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert("x-slack-request-timestamp", at.parse().unwrap());
        headers.insert("x-slack-signature", signature.parse().unwrap());
        check(&[Secret::new("another one"), Secret::new(SECRET)], &headers, body.as_bytes(), now)
    }

    #[test]
    fn slacks_own_example_is_believed_for_five_minutes() {
        let at = AT.to_string();
        for now in [AT - 300, AT, AT + 300] {
            assert_eq!(checked(&at, SIGNATURE, BODY, now).unwrap().len(), 32);
        }
        for now in [AT - 301, AT + 301, i64::MIN, i64::MAX] {
            assert!(checked(&at, SIGNATURE, BODY, now).unwrap_err().contains("five minutes"));
        }
    }

    #[test]
    fn whatever_is_changed_is_not_believed() {
        let at = AT.to_string();
        let other = SIGNATURE.replace("v0=a", "v0=b");
        for (at, signature, body) in [
            (at.as_str(), other.as_str(), BODY),
            (at.as_str(), &SIGNATURE[..20], BODY),
            (at.as_str(), "v0=", BODY),
            (at.as_str(), &SIGNATURE[3..], BODY),
            (at.as_str(), SIGNATURE, &BODY[1..]),
            ("1531420619", SIGNATURE, BODY),
            ("now", SIGNATURE, BODY),
            ("", SIGNATURE, BODY),
        ] {
            assert!(checked(at, signature, body, AT).is_err(), "{at} {signature}");
        }
        let empty = [Secret::new("")];
        assert!(check(&empty, &HeaderMap::new(), BODY.as_bytes(), AT).is_err());
    }
}
