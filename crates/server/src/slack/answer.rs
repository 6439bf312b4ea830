//! Gets an answer to the person who asked, within the time that Slack waits, or afterwards.
//!
//! The address that comes with a request takes five answers within half an hour. What comes later, or cannot be told there, goes by
//! the bot's token to that person alone. All answers replace the one before, so that one that may have been lost is told again.

use std::sync::Arc;
use std::time::Duration;

use domain::chat::Chat;
use domain::notice::Undelivered;
use futures::future::BoxFuture;
use serde_json::Value;
use store::slack::Member;
use tokio::time::{Instant, sleep, timeout};

use super::blocks;

/// Slack waits three seconds; what takes longer than this is told afterwards.
const PROMPT: Duration = Duration::from_millis(1500);
/// The address is good for so many answers,
const USES: u32 = 5;
/// and for half an hour, less some.
const GOOD_FOR: Duration = Duration::from_secs(29 * 60);
/// So many times it is tried by the bot's token.
const TRIES: u32 = 5;
/// The longest rest between two tries that the chat does not ask for.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Who asked, and how they are answered.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) chat: Arc<dyn Chat>,
    /// The address for answers; empty when there is none.
    pub(super) url: String,
    /// The channel in which they asked.
    pub(super) place: String,
    pub(super) member: Member,
    since: Instant,
}

impl Asker {
    pub(super) fn new(chat: Arc<dyn Chat>, url: String, place: String, member: Member) -> Self {
        Self { chat, url, place, member, since: Instant::now() }
    }

    /// Tells them, however long it takes; what cannot be told is logged.
    pub(super) async fn tell(self, message: Value) {
        let mut uses = 0;
        while !self.url.is_empty() && uses < USES && self.since.elapsed() < GOOD_FOR {
            let told = self.chat.answer(&self.url, &message).await;
            uses += 1;
            match told {
                Ok(()) => return,
                Err(Undelivered::Never(why)) => {
                    tracing::warn!("an answer is told by the bot instead: {why}");
                    break;
                }
                Err(e) => sleep(rest(&e, uses)).await,
            }
        }
        for tries in 1..=TRIES {
            match self.chat.whisper(&self.place, &self.member.id, &message).await {
                Ok(()) => return,
                // It may be there, and cannot be replaced.
                Err(Undelivered::Never(why) | Undelivered::Unclear(why)) => {
                    tracing::warn!("somebody in Slack was not answered, as far as is known: {why}");
                    return;
                }
                Err(e) => sleep(rest(&e, tries)).await,
            }
        }
        tracing::warn!("somebody in Slack was not answered");
    }

    /// Answers with what comes of the work: in time, or else with `meanwhile`, and tells it afterwards.
    pub(super) async fn promptly(self, meanwhile: Value, work: BoxFuture<'static, Value>) -> Value {
        // A task of its own: whoever does not wait for it takes nothing with them.
        let mut task = tokio::spawn(work);
        match timeout(PROMPT, &mut task).await {
            Ok(done) => done.unwrap_or_else(|_| sorry()),
            Err(_) => {
                tokio::spawn(async move { self.tell(task.await.unwrap_or_else(|_| sorry())).await });
                meanwhile
            }
        }
    }

    /// Does the work afterwards.
    pub(super) fn afterwards(self, work: BoxFuture<'static, Value>) {
        tokio::spawn(async move {
            let task = tokio::spawn(work);
            self.tell(task.await.unwrap_or_else(|_| sorry())).await;
        });
    }
}

fn sorry() -> Value {
    blocks::told("Something went wrong on our side; the server's log tells more.")
}

fn rest(error: &Undelivered, tries: u32) -> Duration {
    let patience = Duration::from_millis(500 << tries.min(8)).min(LONGEST_REST);
    match error {
        Undelivered::Later { after: Some(after), .. } => patience.max(*after),
        _ => patience,
    }
}
