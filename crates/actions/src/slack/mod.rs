//! Slack's Web API: the methods that Firebreak uses, each with the scopes that it takes, and what their answers mean.
//!
//! - [`Bot`]: runs as messages that are edited, answers to people, forms. Its messages are drawn in `card`.
//! - `notify::slack`: notices alone, for who wants no more.
//!
//! Own small code: `slack-morphism`, the well-kept crate, cannot be had without its own client's crates (and a second calendar).

mod bot;
mod card;

use domain::notice::{Found, Letter, Undelivered};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::notify::http;
use crate::secrets::Secret;

pub use bot::{Bot, BotSettings, Identity};

/// A method of the Web API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Who the token is.
    AuthTest,
    /// Posts a message.
    PostMessage,
    /// Posts what one person alone sees.
    PostEphemeral,
    /// Edits a message.
    Update,
    /// The newest messages of a channel.
    History,
    /// The newest messages of a thread.
    Replies,
    /// Opens a form.
    OpenView,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AuthTest,
        Self::PostMessage,
        Self::PostEphemeral,
        Self::Update,
        Self::History,
        Self::Replies,
        Self::OpenView,
    ];

    /// As its address has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthTest => "auth.test",
            Self::PostMessage => "chat.postMessage",
            Self::PostEphemeral => "chat.postEphemeral",
            Self::Update => "chat.update",
            Self::History => "conversations.history",
            Self::Replies => "conversations.replies",
            Self::OpenView => "views.open",
        }
    }

    /// What a bot's token must be allowed for it; the second for private channels.
    pub fn scopes(self) -> &'static [&'static str] {
        match self {
            Self::AuthTest | Self::OpenView => &[],
            Self::PostMessage | Self::PostEphemeral | Self::Update => &["chat:write"],
            Self::History | Self::Replies => &["channels:history", "groups:history"],
        }
    }
}

/// The token is none, or no longer.
const OF_TOKEN: [&str; 8] = [
    "not_authed",
    "invalid_auth",
    "account_inactive",
    "token_revoked",
    "token_expired",
    "no_permission",
    "access_denied",
    "team_access_not_granted",
];
/// The bot may not write or read there, or there is no such place.
const OF_PLACE: [&str; 4] = ["channel_not_found", "not_in_channel", "is_archived", "restricted_action"];
/// The token is good, and not for this.
const MAY_NOT: &str = "missing_scope";

/// Does Slack give one of these for its refusal?
fn says(error: &Undelivered, words: &[&str]) -> bool {
    match error {
        Undelivered::Later { error: said, .. } | Undelivered::Never(said) => {
            words.iter().any(|word| said.ends_with(word))
        }
        Undelivered::Unclear(_) => false,
    }
}

/// So many messages are read at a time: of a channel these, the newest.
const READ: &str = "200";
/// A thread begins with its oldest message. So it is read to its end, unless it has more than so many times as many.
const MOST_PAGES: usize = 20;

/// A look that failed. A token that may not read cannot tell; that is not the message's fault, and waiting would not help it.
fn unseen(error: Undelivered) -> Undelivered {
    match error {
        Undelivered::Never(why) => Undelivered::Unclear(why),
        Undelivered::Later { error: why, .. } if why.ends_with(MAY_NOT) => Undelivered::Unclear(why),
        other => other,
    }
}

/// The API, by one token.
pub(crate) struct Api {
    http: Client,
    base: Url,
    token: Secret,
}

/// What every method answers.
#[derive(Default, Deserialize)]
pub(crate) struct Answer {
    ok: bool,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    pub(crate) channel: Option<String>,
    #[serde(default)]
    pub(crate) ts: Option<String>,
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    response_metadata: Option<More>,
    #[serde(default)]
    team: Option<String>,
    #[serde(default)]
    team_id: Option<String>,
    #[serde(default)]
    user: Option<String>,
}

/// Where the rest of a list is.
#[derive(Deserialize)]
struct More {
    #[serde(default)]
    next_cursor: String,
}

#[derive(Deserialize)]
struct Message {
    ts: String,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    event_payload: Value,
}

impl Message {
    /// Is it the one with this id?
    fn is(&self, id: &Value) -> bool {
        self.metadata.as_ref().is_some_and(|m| m.event_payload["id"] == *id)
    }
}

impl Api {
    pub(crate) fn new(base: &str, token: Secret) -> Result<Self, String> {
        Ok(Self { http: http::client()?, base: http::address(base)?, token })
    }

    fn method(&self, method: Method) -> Result<Url, Undelivered> {
        self.base.join(method.name()).map_err(|e| Undelivered::Never(e.to_string()))
    }

    pub(crate) async fn post(&self, method: Method, body: &Value) -> Result<Answer, Undelivered> {
        self.ask(self.http.post(self.method(method)?).json(body)).await
    }

    async fn get(&self, method: Method, query: &[(&str, &str)]) -> Result<Answer, Undelivered> {
        self.ask(self.http.get(self.method(method)?).query(query)).await
    }

    /// Looks for the message of a letter in a channel, or in a thread of it.
    pub(crate) async fn find(
        &self,
        channel: &str,
        thread: Option<&str>,
        letter: &Letter<'_>,
    ) -> Result<Found, Undelivered> {
        let (id, mut cursor) = (Value::from(letter.id.to_string()), None::<String>);
        for _ in 0..MOST_PAGES {
            let mut query = vec![("channel", channel), ("limit", READ), ("include_all_metadata", "true")];
            query.extend(thread.map(|ts| ("ts", ts)));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let method = if thread.is_some() { Method::Replies } else { Method::History };
            let answer = self.get(method, &query).await.map_err(unseen)?;
            if let Some(found) = answer.messages.iter().find(|message| message.is(&id)) {
                return Ok(Found::There(Some(json!({ "channel": channel, "ts": found.ts }))));
            }
            cursor = answer.response_metadata.map(|more| more.next_cursor).filter(|next| !next.is_empty());
            if cursor.is_none() || thread.is_none() {
                return Ok(Found::NotThere);
            }
        }
        Err(Undelivered::Unclear("its thread is too long to be read to the end".into()))
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Answer, Undelivered> {
        let answer = http::send(request.bearer_auth(self.token.expose())).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.refusal());
        }
        let read: Answer = serde_json::from_slice(&answer.body)
            .map_err(|e| Undelivered::Unclear(format!("its answer is not understood: {e}")))?;
        if read.ok {
            return Ok(read);
        }
        let error = read.error.unwrap_or_else(|| "an error without a name".into());
        let said = format!("Slack says {error}");
        // https://docs.slack.dev/reference/methods/chat.postMessage: these pass, and say that nothing was done.
        match error.as_str() {
            "ratelimited" | "rate_limited" | "message_limit_exceeded" | "service_unavailable" => {
                Err(Undelivered::Later { error: said, after: answer.retry_after })
            }
            "internal_error" | "fatal_error" | "request_timeout" => Err(Undelivered::Unclear(said)),
            // A token or a channel that somebody will see to: nothing of the message's fault.
            word if OF_TOKEN.contains(&word) || OF_PLACE.contains(&word) || word == MAY_NOT => {
                Err(Undelivered::Later { error: said, after: None })
            }
            _ => Err(Undelivered::Never(said)),
        }
    }
}

/// As Slack asks for it: <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
