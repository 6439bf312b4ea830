//! The app's bot: it posts runs and what happens in them, edits, answers, and opens forms.
//!
//! A post carries its id as metadata, by which it is found when its answer was lost. A place in which the bot may not write is given
//! up for the configured channel, and the receipt says which of both it was.

use domain::chat::{Card, Chat};
use domain::notice::{Channel, Found, Letter, Undelivered, Urgency};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};

use super::{Answer, Api, Method, OF_PLACE, card, says};
use crate::notify::{SLACK, http};
use crate::secrets::Secret;

/// Where answers to people go, and nowhere else: whoever could name another place would have us call it.
const ANSWERS: &str = "https://hooks.slack.com/";

/// How the bot is set up.
#[derive(Debug, Clone)]
pub struct BotSettings {
    /// The API's base URL; Slack's own when absent. Then answers go to Slack's own place alone; else also there.
    pub api: Option<String>,
    /// `xoxb-…`
    pub token: Secret,
    /// The channel in which runs are shown that were not asked for in Slack.
    pub channel: Option<String>,
    /// Named in every message, so that a drill is no alarm.
    pub environment: Option<String>,
}

/// The bot.
pub struct Bot {
    api: Api,
    answers: Url,
    http: reqwest::Client,
    channel: Option<String>,
    environment: Option<String>,
}

/// Who a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The team's id.
    pub team_id: String,
    /// The team's name.
    pub team: String,
    /// The bot's name.
    pub user: String,
}

impl Bot {
    /// Ready to use; nothing is called yet.
    ///
    /// # Errors
    /// What is wrong with the settings, in words.
    pub fn new(settings: BotSettings) -> Result<Self, String> {
        // As `registry` does: whoever comes first decides the process's TLS provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let BotSettings { api, token, channel, environment } = settings;
        let answers = http::address(api.as_deref().unwrap_or(ANSWERS))?;
        let api = Api::new(api.as_deref().unwrap_or(SLACK), token)?;
        Ok(Self { api, answers, http: http::client()?, channel, environment })
    }

    /// Who the token is, as Slack says.
    pub async fn who(&self) -> Result<Identity, Undelivered> {
        let Answer { team_id, team, user, .. } = self.api.post(Method::AuthTest, &json!({})).await?;
        let said = |word: Option<String>| word.unwrap_or_default();
        Ok(Identity { team_id: said(team_id), team: said(team), user: said(user) })
    }

    /// The places for a letter, the first one first.
    fn places<'a>(&'a self, letter: &'a Letter<'_>) -> Vec<&'a str> {
        // What belongs below a message goes where that is.
        if let Some(place) = letter.thread.and_then(|thread| thread["channel"].as_str()) {
            return vec![place];
        }
        let mut places: Vec<&str> = letter.notice.place.as_deref().into_iter().collect();
        places.extend(self.channel.as_deref().filter(|channel| !places.contains(channel)));
        places
    }

    async fn look_in(&self, place: &str, letter: &Letter<'_>) -> Result<Found, Undelivered> {
        let thread = letter.thread.and_then(|thread| thread["ts"].as_str());
        self.api.find(place, thread, letter).await
    }
}

/// A refusal of this place, not of the message.
fn is_of_place(error: &Undelivered) -> bool {
    says(error, &OF_PLACE)
}

impl Channel for Bot {
    fn least(&self) -> Urgency {
        Urgency::Info
    }

    fn is_board(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Option<Value>, Undelivered>> {
        async move {
            if letter.notice.kind != "card" && letter.thread.is_none() {
                return Err(Undelivered::Never("the message of its run is not there".into()));
            }
            let mut refused = Undelivered::Never("no channel is configured under `slack`".into());
            for place in self.places(letter) {
                let message = card::notice(letter, place, self.environment.as_deref());
                match self.api.post(Method::PostMessage, &message).await {
                    Ok(answer) => {
                        let place = answer.channel.unwrap_or_else(|| place.to_owned());
                        return Ok(answer.ts.map(|ts| json!({ "channel": place, "ts": ts })));
                    }
                    Err(e) if is_of_place(&e) => refused = e,
                    Err(e) => return Err(e),
                }
            }
            Err(refused)
        }
        .boxed()
    }

    fn find<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Found, Undelivered>> {
        async move {
            let mut looked = false;
            for place in self.places(letter) {
                match self.look_in(place, letter).await {
                    Ok(found @ Found::There(_)) => return Ok(found),
                    Ok(Found::NotThere | Found::Harmless) => looked = true,
                    // Nothing was put where the bot is not let in.
                    Err(e) if is_of_place(&e) => {}
                    Err(e) => return Err(e),
                }
            }
            if looked {
                Ok(Found::NotThere)
            } else {
                Err(Undelivered::Unclear("no channel can be read".into()))
            }
        }
        .boxed()
    }
}

impl Chat for Bot {
    fn place(&self) -> Option<&str> {
        self.channel.as_deref()
    }

    fn edit<'a>(
        &'a self,
        at: &'a Value,
        shown: &'a Card,
        link: &'a str,
    ) -> BoxFuture<'a, Result<(), Undelivered>> {
        async move {
            let message = card::edited(at, shown, link, self.environment.as_deref());
            self.api.post(Method::Update, &message).await.map(drop)
        }
        .boxed()
    }

    fn answer<'a>(&'a self, url: &'a str, message: &'a Value) -> BoxFuture<'a, Result<(), Undelivered>> {
        async move {
            let never = |why: String| Undelivered::Never(why);
            let url = Url::parse(url).map_err(|e| never(format!("the address for the answer: {e}")))?;
            if url.origin() != self.answers.origin() {
                return Err(never("the address for the answer is not Slack's".into()));
            }
            let answer = http::send(self.http.post(url).json(message)).await?;
            match answer.status {
                status if status.is_success() => Ok(()),
                // Used up, or too late: it knows no other secret than its address.
                StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => {
                    Err(never(format!("it answered {}", answer.status)))
                }
                _ => Err(answer.refusal()),
            }
        }
        .boxed()
    }

    fn whisper<'a>(
        &'a self,
        place: &'a str,
        member: &'a str,
        message: &'a Value,
    ) -> BoxFuture<'a, Result<(), Undelivered>> {
        async move {
            let mut message = message.clone();
            message["channel"] = place.into();
            message["user"] = member.into();
            self.api.post(Method::PostEphemeral, &message).await.map(drop)
        }
        .boxed()
    }

    fn open<'a>(&'a self, trigger: &'a str, view: &'a Value) -> BoxFuture<'a, Result<(), Undelivered>> {
        async move {
            let body = json!({ "trigger_id": trigger, "view": view });
            self.api.post(Method::OpenView, &body).await.map(drop)
        }
        .boxed()
    }
}
