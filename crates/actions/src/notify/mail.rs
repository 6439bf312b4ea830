//! Mail, by SMTP.
//!
//! Up to the end of the text a broken conversation means that nothing was taken. After it only the server's answer tells; without
//! one nobody can look it up, so the message is said to be unclear and not sent again. Its `Message-ID` is made of its id.
//!
//! Whom the server does not know, or not now, does not keep it from the others: it goes to those who were accepted, and the
//! receipt names those who were not.

use std::time::Duration;

use domain::notice::{Channel, Found, Letter, Undelivered, Urgency};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use mail_send::mail_builder::MessageBuilder;
use mail_send::smtp::message::Parameters;
use mail_send::{Credentials, Error, SmtpClient, SmtpClientBuilder};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Voice;
use crate::secrets::Secret;

/// For each answer of the server (wall time).
const PATIENCE: Duration = Duration::from_secs(10);

/// How the connection is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// From the first byte (port 465).
    #[default]
    Implicit,
    /// After STARTTLS, which the server must offer (port 587).
    Starttls,
    /// Not at all: a relay on this very machine.
    None,
}

pub(super) struct Mail {
    voice: Voice,
    server: SmtpClientBuilder<String>,
    tls: Tls,
    from: String,
    to: Vec<String>,
}

impl Mail {
    pub(super) fn new(
        voice: Voice,
        (host, port, tls): (String, u16, Tls),
        login: Option<(String, Secret)>,
        from: String,
        to: Vec<String>,
    ) -> Result<Self, String> {
        if to.is_empty() {
            return Err("`to` is empty; write at least one address".into());
        }
        for address in to.iter().chain([&from]) {
            let plain = address
                .chars()
                .all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | ','));
            if !plain || !address.contains('@') {
                return Err(format!("`{address}` is no mail address; write it like oncall@example.com"));
            }
        }
        if login.is_some() && tls == Tls::None {
            return Err("a password is not sent over a connection that anybody can read; set `tls`".into());
        }
        let mut server =
            SmtpClientBuilder::new(host, port)?.implicit_tls(tls == Tls::Implicit).timeout(PATIENCE);
        if let Some((user, password)) = login {
            server = server.credentials(Credentials::new(user, password.expose().to_owned()));
        }
        Ok(Self { voice, server, tls, from, to })
    }

    fn message(&self, letter: &Letter<'_>) -> Result<Vec<u8>, Undelivered> {
        let notice = letter.notice;
        let domain = self.from.rsplit_once('@').map_or("firebreak", |(_, domain)| domain);
        let mut message = MessageBuilder::new()
            .from(self.from.as_str())
            .to(self.to.iter().map(String::as_str).collect::<Vec<_>>())
            .message_id(format!("{}@{domain}", letter.id))
            .subject(self.voice.title(&notice.title))
            .text_body(format!("{}\n\n{}\n", notice.text, letter.link));
        // All that is told of one incident is one conversation, in programs that group by it.
        if let Some(incident) = notice.incident {
            message = message.references(format!("incident-{incident}@{domain}"));
        }
        message.write_to_vec().map_err(|e| Undelivered::Never(e.to_string()))
    }

    async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut smtp: SmtpClient<S>,
        message: &[u8],
    ) -> Result<Option<Value>, Undelivered> {
        let plain = Parameters::default();
        smtp.mail_from(&self.from, &plain).await.map_err(before)?;
        let mut refused = Vec::new();
        for to in &self.to {
            match smtp.rcpt_to(to, &plain).await {
                Ok(()) => {}
                Err(e @ Error::UnexpectedReply(_)) => refused.push((to, e)),
                Err(e) => return Err(before(e)),
            }
        }
        let told: Map<String, Value> =
            refused.iter().map(|(to, e)| ((*to).clone(), e.to_string().into())).collect();
        if refused.len() == self.to.len() {
            // One who is refused for now is reason enough to try again.
            let mut all = refused.into_iter().map(|(_, e)| before(e));
            let error = format!("nobody is accepted: {}", Value::from(told));
            return Err(match all.all(|e| matches!(e, Undelivered::Never(_))) {
                true => Undelivered::Never(error),
                false => Undelivered::Later { error, after: None },
            });
        }
        let ready = smtp.cmd(b"DATA\r\n").await.map_err(before)?;
        if ready.code != 354 {
            return Err(before(Error::UnexpectedReply(ready)));
        }
        smtp.write_message(message)
            .await
            .map_err(|e| Undelivered::Unclear(format!("the connection broke: {e}")))?;
        let lost = |e: Error| Undelivered::Unclear(format!("no answer to the message: {e}"));
        let reply = tokio::time::timeout(PATIENCE, smtp.read())
            .await
            .map_err(|_| lost(Error::Timeout))?
            .map_err(lost)?;
        if reply.code / 100 != 2 {
            return Err(before(Error::UnexpectedReply(reply)));
        }
        // It is taken; how the conversation ends does not matter any more.
        let _ = smtp.quit().await;
        Ok((!told.is_empty()).then(|| json!({ "refused": told })))
    }
}

/// What an error means while the server has surely taken nothing.
fn before(error: Error) -> Undelivered {
    let said = error.to_string();
    match error {
        // A password that is wrong, or missing (530): somebody will see to it.
        Error::AuthenticationFailed(_) => Undelivered::Later { error: said, after: None },
        // 4xx passes, 5xx does not: RFC 5321, 4.2.1.
        Error::UnexpectedReply(reply) if reply.code / 100 == 5 && !matches!(reply.code, 530 | 534 | 535) => {
            Undelivered::Never(said)
        }
        Error::MissingStartTls
        | Error::InvalidTLSName
        | Error::UnsupportedAuthMechanism
        | Error::MissingCredentials => Undelivered::Never(said),
        _ => Undelivered::Later { error: said, after: None },
    }
}

impl Channel for Mail {
    fn least(&self) -> Urgency {
        self.voice.least
    }

    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Option<Value>, Undelivered>> {
        async move {
            let message = self.message(letter)?;
            match self.tls {
                Tls::None => self.speak(self.server.connect_plain().await.map_err(before)?, &message).await,
                Tls::Implicit | Tls::Starttls => {
                    self.speak(self.server.connect().await.map_err(before)?, &message).await
                }
            }
        }
        .boxed()
    }

    fn find<'a>(&'a self, _: &'a Letter<'a>) -> BoxFuture<'a, Result<Found, Undelivered>> {
        let why = "mail that was handed over cannot be looked up";
        std::future::ready(Err(Undelivered::Unclear(why.into()))).boxed()
    }
}
