//! The people: they start runs, click twice, try again when nobody answers, and answer what only a person can.
//!
//! Where the outcome of a change is unknown they look at what really happened, and say so truthfully.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use domain::Role;
use domain::run::{Ask, Phase, Record, State, Status, StepPath, Takeback};
use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use serde_json::{Value, json};
use sim::LedgerEntry;
use sqlx::PgPool;
use uuid::Uuid;

use crate::oracle::{self, Change};
use crate::schedule::Start;

pub(crate) struct Person {
    client: reqwest::Client,
    urls: Vec<String>,
    cookie: String,
    csrf: String,
    /// What the servers said yes to.
    pub(crate) promises: Mutex<Promises>,
}

/// What was acknowledged must never be lost.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    /// The runs that a start was answered with.
    pub(crate) runs: Vec<(Uuid, Uuid)>,
    /// Wishes that were taken, by id, with their run.
    pub(crate) asks: Vec<(Uuid, Uuid)>,
    /// Answers that no fault explains.
    pub(crate) strange: Vec<String>,
}

impl Person {
    pub(crate) fn client() -> anyhow::Result<reqwest::Client> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        Ok(client.timeout(Duration::from_secs(4)).build()?)
    }

    pub(crate) async fn sign_in(
        client: reqwest::Client,
        pool: &PgPool,
        urls: Vec<String>,
    ) -> anyhow::Result<Self> {
        let mut person =
            Self { client, urls, cookie: String::new(), csrf: String::new(), promises: Mutex::default() };
        // A process that a busy machine starved of its lease starts anew just now: another try, at another one.
        let mut failure = None;
        for attempt in 0..60 {
            match person.sign_in_at(pool, attempt % person.urls.len()).await {
                Ok((cookie, csrf)) => {
                    (person.cookie, person.csrf) = (cookie, csrf);
                    return Ok(person);
                }
                Err(e) => failure = Some(e),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err(failure.unwrap_or_else(|| anyhow::anyhow!("nobody could sign in")))
    }

    async fn sign_in_at(&self, pool: &PgPool, server: usize) -> anyhow::Result<(String, String)> {
        let (client, url) = (&self.client, &self.urls[server]);
        let link = server::sign_in_link(pool, "on-call", Role::Responder, url).await?;
        let form = "application/x-www-form-urlencoded";
        let answer = client.post(link).header(CONTENT_TYPE, form).send().await?;
        let cookie = answer.headers().get(SET_COOKIE).and_then(|c| c.to_str().ok()).unwrap_or_default();
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let session: Value = client
            .get(format!("{url}/api/v1/session"))
            .header(COOKIE, &cookie)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        let csrf = session["csrf"].as_str().unwrap_or_default().to_owned();
        Ok((cookie, csrf))
    }

    async fn post(
        &self,
        server: usize,
        path: &str,
        key: Uuid,
        body: &Value,
    ) -> reqwest::Result<(u16, Value)> {
        let answer = self
            .client
            .post(format!("{}{path}", self.urls[server % self.urls.len()]))
            .header(COOKIE, &self.cookie)
            .header("x-csrf-token", &self.csrf)
            .header("idempotency-key", key.to_string())
            .json(body)
            .send()
            .await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await?))
    }

    fn promised(&self, note: impl FnOnce(&mut Promises)) {
        note(&mut self.promises.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// One click. `None`: nobody knows what came of it; try again.
    async fn click(&self, start: &Start, server: usize) -> Option<Uuid> {
        let body = json!({ "runbook": start.runbook, "inputs": start.inputs, "reason": "chaos" });
        match self.post(server, "/api/v1/runs", start.key, &body).await {
            Ok((200 | 201, answer)) => {
                let run = answer["run_id"].as_str().and_then(|id| id.parse().ok())?;
                self.promised(|p| p.runs.push((start.key, run)));
                Some(run)
            }
            // Locked by an earlier run, or the server or its database is away.
            Ok((409 | 500..=599, _)) | Err(_) => None,
            Ok((status, answer)) => {
                self.promised(|p| p.strange.push(format!("start of {}: {status} {answer}", start.runbook)));
                None
            }
        }
    }

    /// Starts a run, whatever it takes.
    pub(crate) async fn start(&self, start: &Start) -> Uuid {
        let mut server = start.server;
        let mut double = start.double;
        loop {
            let (first, second) = match double.take() {
                Some(second) => {
                    futures::future::join(self.click(start, server), self.click(start, second)).await
                }
                None => (self.click(start, server).await, None),
            };
            if let Some(run) = first.or(second) {
                return run;
            }
            server += 1;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Asks something of a run, once; what comes of it is seen later.
    pub(crate) async fn ask(&self, run: Uuid, server: usize, ask: &Ask) {
        let id = Uuid::now_v7();
        let Ok(body) = serde_json::to_value(ask) else { return };
        match self.post(server, &format!("/api/v1/runs/{run}/ask"), id, &body).await {
            Ok((202, _)) => self.promised(|p| p.asks.push((id, run))),
            // Not possible any more, or the server or its database is away.
            Ok((409 | 500..=599, _)) | Err(_) => {}
            Ok((status, answer)) => {
                self.promised(|p| p.strange.push(format!("{} of {run}: {status} {answer}", ask.verb())));
            }
        }
    }
}

/// What a patient person asks of a run that waits for one; `None` when it does not.
///
/// Retries first. What fails again and again is ended; an undo that fails again and again is left out.
pub(crate) fn answer(
    run: Uuid,
    journal: &[Record],
    everything: &BTreeMap<Uuid, Vec<Record>>,
    ledger: &[LedgerEntry],
) -> Option<Ask> {
    let state = State::replay(journal).ok()?;
    let said = journal.iter().filter(|r| matches!(r.entry, domain::run::Entry::Asked { .. })).count();
    let blocked = state.blocked().next().map(|(step, _)| step.clone());
    let unknown = |step: &StepPath| state.node(step).is_some_and(|n| n.status == Status::OutcomeUnknown);
    match (blocked, state.phase()) {
        (Some(step), _) if unknown(&step) => {
            let reason = "seen in the ledger".to_owned();
            Some(match happened(run, &step, everything, ledger) {
                true => Ask::MarkDone { step, reason, output: Value::Null },
                false => Ask::Retry { step },
            })
        }
        (Some(step), Phase::Closing { .. }) if said > 12 => {
            Some(Ask::Skip { step, reason: "it fails again and again".into() })
        }
        (Some(_), Phase::Forward | Phase::Verifying) if said > 6 && state.aborting().is_none() => {
            Some(Ask::Abort { takeback: Takeback::Finally, reason: "it fails again and again".into() })
        }
        (Some(step), _) => Some(Ask::Retry { step }),
        (None, _) if state.held().is_some() => Some(Ask::Resume),
        (None, _) => None,
    }
}

/// Did the change in question really happen? There is one effect more than the settled steps explain.
fn happened(
    run: Uuid,
    step: &StepPath,
    everything: &BTreeMap<Uuid, Vec<Record>>,
    ledger: &[LedgerEntry],
) -> bool {
    let changes: Vec<Change> =
        everything.iter().flat_map(|(id, journal)| oracle::changes(*id, journal)).collect();
    let Some(asked) = changes.iter().find(|c| c.run == run && c.step == *step) else { return false };
    let settled: usize = changes.iter().filter(|c| c.target == asked.target && c.is_done()).count();
    let effects = oracle::effects(ledger);
    effects.get(&asked.target).copied().unwrap_or_default() > settled
}
