//! `webhook.send`: one signed POST to a place of your own, such as a load shedder or a feature switch.
//!
//! Where it goes, and the secret that it is signed with, are in the configuration under a name; a runbook can say the name and
//! the body, never an address. It is signed as our own hook `generic` wants it, so that whoever can take one can take the other:
//!
//! ```text
//!  X-Firebreak-Timestamp: 1715093000                    seconds; refuse what is more than five minutes off
//!  X-Firebreak-Signature: v1=<hex>                      HMAC-SHA256 of `timestamp.body` with the shared secret
//!  X-Firebreak-Id: <run>:<step>                         the same for every attempt of the same step
//! ```
//!
//! **What a receiver owes.** A call whose answer was lost is made again, under the same id. So the receiver must remember the
//! ids of what it *did* for at least a day, and answer a known id as it did the first time, doing nothing. Nothing can be looked
//! at here: without that, a repeat would be a second effect. It may forget what it refused: a person's retry has the same id, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::action::{ActionError, Change, Ctx, Effect, ObjectChange, UndoByHand, UndoCall};
use domain::inventory::SecretRef;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Sha256;

use crate::http::{self, Call};
use crate::secrets::{Secret, Secrets};
use crate::shell::quote;
use crate::{SetupError, input};

/// A place that takes signed calls, as configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where it takes them.
    pub url: String,
    /// What both sides know.
    pub secret: SecretRef,
}

/// The places of the configuration, ready to be called.
pub(crate) struct Webhooks {
    http: Client,
    places: BTreeMap<String, Place>,
}

struct Place {
    url: Url,
    secret: Secret,
    /// Where the secret is, for a person with a terminal.
    kept: SecretRef,
}

impl Webhooks {
    /// Sets them up; calls nothing.
    pub(crate) fn new(
        configured: &BTreeMap<String, Webhook>,
        secrets: &Secrets,
    ) -> Result<Arc<Self>, SetupError> {
        let http = http::client().map_err(|e| SetupError::Http(e.to_string()))?;
        let place = |(name, hook): (&String, &Webhook)| {
            let wrong = |reason: String| SetupError::Webhook { name: name.clone(), reason };
            let url = http::address(&hook.url).map_err(|e| wrong(format!("its `url`: {e}")))?;
            // Without secrets actions only describe themselves.
            let secret = secrets.get(&hook.secret).cloned().unwrap_or_else(|| Secret::new(""));
            Ok((name.clone(), Place { url, secret, kept: hook.secret.clone() }))
        };
        let places = configured.iter().map(place).collect::<Result<_, SetupError>>()?;
        Ok(Arc::new(Self { http, places }))
    }

    fn place(&self, name: &str) -> Result<&Place, ActionError> {
        self.places.get(name).ok_or_else(|| {
            let known = self.places.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            ActionError::refused(
                "not_configured",
                format!("No webhook `{name}` is configured; configured are: {known}."),
            )
            .remedy("add it to the configuration, with its `url` and `secret`, under `webhooks`")
        })
    }
}

/// `webhook.send`.
pub(crate) struct Send(pub(crate) Arc<Webhooks>);

/// What is sent where.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendInput {
    /// Name of the webhook in the configuration.
    #[serde(deserialize_with = "input::name")]
    to: String,
    /// What is sent, as JSON.
    body: Map<String, Value>,
    /// What takes it back, sent to the same place; without it, it cannot be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    take_back: Option<Map<String, Value>>,
}

/// There is nothing to see before a call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Where it goes: kept in the intent, since the configuration may change.
    host: String,
}

/// What was answered.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Sent {
    /// HTTP status.
    status: u16,
    /// The answer, where it is JSON; else null.
    answer: Value,
}

/// `v1=<hex>`: HMAC-SHA256 of `timestamp.body`.
pub(crate) fn signature(secret: &Secret, at: i64, body: &str) -> Result<String, String> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes());
    let mut mac = mac.map_err(|e| e.to_string())?;
    mac.update(format!("{at}.{body}").as_bytes());
    Ok(format!("v1={}", hex::encode(mac.finalize().into_bytes())))
}

impl Change for Send {
    const NAME: &'static str = "webhook.send";
    const SUMMARY: &'static str = "Send a signed call to a place of your own";
    const PERMISSIONS: &'static [&'static str] = &[];
    const EFFECT: Effect = Effect::Token;
    const UNDOABLE: bool = true;
    const UNDO_BY_HAND: Option<UndoByHand> = Some(UndoByHand {
        look: None,
        look_with: &[],
        each: None,
        when: "$with.take_back != null",
        with: &[("body", "$with.take_back"), ("take_back", "null")],
    });
    type Input = SendInput;
    type Facts = Facts;
    type Output = Sent;

    async fn observe(&self, _ctx: &Ctx, input: &SendInput) -> Result<Facts, ActionError> {
        let place = self.0.place(&input.to)?;
        Ok(Facts { host: place.url.host_str().unwrap_or_default().to_owned() })
    }

    fn settled(&self, _input: &SendInput, _facts: &Facts) -> Option<Sent> {
        None
    }

    fn plan(&self, input: &SendInput, facts: &Facts) -> Result<Vec<ObjectChange>, ActionError> {
        Ok(vec![ObjectChange {
            object: format!("webhook {} ({})", input.to, facts.host),
            property: "call".into(),
            before: Value::Null,
            after: Value::Object(input.body.clone()),
        }])
    }

    fn predict(&self, _input: &SendInput, _facts: &Facts) -> Option<Sent> {
        None
    }

    async fn apply(&self, ctx: &Ctx, input: &SendInput, _facts: &Facts) -> Result<Sent, ActionError> {
        let place = self.0.place(&input.to)?;
        let (at, body) = (ctx.clock.now().timestamp(), Value::Object(input.body.clone()).to_string());
        let signature = signature(&place.secret, at, &body)
            .map_err(|e| ActionError::refused("bad_request", format!("The call cannot be signed: {e}.")))?;
        let request = self
            .0
            .http
            .post(place.url.clone())
            .header("content-type", "application/json")
            .header("x-firebreak-timestamp", at)
            .header("x-firebreak-signature", signature)
            .header("x-firebreak-id", &ctx.token)
            .body(body);
        let call = Call {
            service: "webhook",
            operation: "POST",
            target: &input.to,
            mutating: true,
            secret: &place.secret,
        };
        let answer = call.send(ctx, request).await?;
        Ok(Sent {
            status: answer.status.as_u16(),
            answer: serde_json::from_slice(&answer.body).unwrap_or_default(),
        })
    }

    fn undo(&self, input: &SendInput, _facts: &Facts) -> Option<UndoCall> {
        let body = input.take_back.clone()?;
        input::call(Self::NAME, &SendInput { to: input.to.clone(), body, take_back: None })
    }

    /// Signed by the shell, at the moment at which it is sent.
    fn command(&self, input: &SendInput) -> String {
        let (url, secret) = match self.0.places.get(&input.to) {
            Some(Place { url, kept: SecretRef::Env(name), .. }) => (url.as_str(), format!("${{{name}}}")),
            Some(Place { url, kept: SecretRef::File(path), .. }) => {
                (url.as_str(), format!("$(cat {})", quote(path)))
            }
            None => ("https://", "${SECRET}".to_owned()),
        };
        let script = format!(
            r#"at=$(date +%s); signature=$(printf %s "$at.$1" | openssl dgst -sha256 -hmac "{secret}" -hex | sed "s/.* //"); curl --silent --show-error --fail-with-body --header "content-type: application/json" --header "x-firebreak-timestamp: $at" --header "x-firebreak-signature: v1=$signature" --header "x-firebreak-id: by-hand:$at:$$" --data-raw "$1" "$0""#
        );
        format!(
            "bash -c {} {} {}",
            quote(&script),
            quote(url),
            quote(&Value::Object(input.body.clone()).to_string())
        )
    }
}
