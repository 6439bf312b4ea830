//! One server: asked with a token, its problems told as failures.
//!
//! It is waited for no longer than it may take itself, by its own table of routes, and not in silence: whoever stops everything in an
//! emergency must not sit before a terminal that says nothing.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::Remote;
use super::exit::{Exit, Failure};
use super::login;
use crate::foreign;
use crate::terminal::remark;

/// So much longer than the server may take is it waited for: an answer is on its way, too.
const WAY: Duration = Duration::from_secs(5);
/// What it may take where its table of routes says nothing.
const QUICK: Duration = Duration::from_secs(20);
/// After so long without an answer, whoever waits is told; where the server looks at the world, three times as long is no surprise.
pub(super) const MUTE: Duration = Duration::from_secs(5);
/// Somebody who only listens is answered at once.
const GREETING: Duration = Duration::from_secs(5);
/// So long a request is asked after whose first answer was lost, and on which the server is still at work.
const AT_WORK: Duration = Duration::from_secs(15);
/// A server that does not say when to ask again is asked then.
const AGAIN: Duration = Duration::from_secs(1);

/// A server that can be asked.
pub(crate) struct Server {
    /// Where it is, without a slash at the end.
    pub(crate) url: String,
    token: String,
    http: reqwest::Client,
    /// Are answers put into words? Then nothing that others wrote is in them as more than what it looks like.
    in_words: bool,
    /// How else it can be done, should the server not answer.
    instead: Option<&'static str>,
    /// How long an answer is waited for.
    patience: fn(&Method, &str) -> Duration,
    /// Has it been said that no answer comes? Once is enough.
    told_mute: AtomicBool,
}

impl Server {
    /// The one that flags, environment or `firebreak login` name.
    pub(crate) fn of(remote: &Remote) -> Result<Self, Failure> {
        let token = std::env::var("FIREBREAK_TOKEN").ok().filter(|token| !token.trim().is_empty());
        // Whoever names both needs no file, whatever is the matter with it.
        let kept = if remote.url.is_some() && token.is_some() { None } else { login::kept()? };
        let url = remote.url.clone().or_else(|| kept.as_ref().map(|kept| kept.url.clone()));
        let url = url.ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                "no server: run `firebreak login https://…` once, or set FIREBREAK_URL and FIREBREAK_TOKEN",
            )
        })?;
        let url = login::address(&url)?;
        // A token goes to the server it was made for, and to no other.
        let token = token.or_else(|| kept.filter(|kept| kept.url == url).map(|kept| kept.token));
        let token = token.ok_or_else(|| {
            Failure::new(
                Exit::SignedOut,
                format!("no token for {url}: run `firebreak login {url}`, or set FIREBREAK_TOKEN"),
            )
        })?;
        Ok(Self { in_words: !remote.json, ..Self::with(url, token)? })
    }

    /// The one at an address, with a token; its answers are put into words.
    pub(crate) fn with(url: String, token: String) -> Result<Self, Failure> {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let client = client.connect_timeout(Duration::from_secs(10)).build();
        let http = client.map_err(|e| Failure::new(Exit::Unreachable, format!("no HTTP client: {e}")))?;
        Ok(Self {
            url,
            token: token.trim().to_owned(),
            http,
            in_words: true,
            instead: None,
            patience,
            told_mute: AtomicBool::new(false),
        })
    }

    /// With a way that needs no server, which is told when this one does not answer.
    pub(super) fn or(self, instead: &'static str) -> Self {
        Self { instead: Some(instead), ..self }
    }

    /// Asks for something.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.aloud(&Method::GET, path, self.look(path)).await
    }

    /// The same for whoever says by themselves that no answer comes.
    pub(super) async fn look(&self, path: &str) -> Result<Value, Failure> {
        let within = (self.patience)(&Method::GET, path);
        let answer = self.request(Method::GET, path).timeout(within).send().await;
        self.told(&Method::GET, answer).await
    }

    /// Asks for a document that is no JSON.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Failure> {
        let within = (self.patience)(&Method::GET, path);
        let asked = async {
            let lost = |e| self.lost(&Method::GET, &e);
            let answer = self.request(Method::GET, path).timeout(within).send().await.map_err(lost)?;
            if !answer.status().is_success() {
                return Err(problem(answer).await);
            }
            answer.text().await.map(|text| foreign::lines(&text)).map_err(lost)
        };
        self.aloud(&Method::GET, path, asked).await
    }

    /// Has something done, once: a lost answer is asked for again under the same key.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let key = Uuid::now_v7().to_string();
        self.post_under(&key, path, body).await
    }

    /// The same under a key of the caller's.
    pub(crate) async fn post_under(&self, key: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        self.aloud(&Method::POST, path, self.have_done(key, path, body)).await
    }

    async fn have_done(&self, key: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let within = (self.patience)(&Method::POST, path);
        let request = |within: Duration| {
            self.request(Method::POST, path).timeout(within).header("idempotency-key", key).json(body)
        };
        let begun = Instant::now();
        let answer = match request(within).send().await {
            // Sent, and no answer: the key makes it safe to ask again. Who said nothing for all of the time is not waited for twice.
            Err(e) if !e.is_connect() && !e.is_timeout() => {
                request(within.saturating_sub(begun.elapsed()).max(WAY)).send().await
            }
            answer => answer,
        };
        self.settled(|| request(within), answer, AT_WORK).await
    }

    /// The answer to what was asked, which is asked for again while the server is at work on it: what it will have done by then is no
    /// refusal.
    async fn settled(
        &self,
        request: impl Fn() -> RequestBuilder,
        mut answer: reqwest::Result<Response>,
        patience: Duration,
    ) -> Result<Value, Failure> {
        let end = Instant::now() + patience;
        loop {
            let pause = answer.as_ref().map_or(AGAIN, pause);
            let left = end.saturating_duration_since(Instant::now());
            match self.told(&Method::POST, answer).await {
                Err(failure) if failure.is_at_work() && pause < left => sleep(pause).await,
                Err(failure) if failure.is_at_work() => return Err(self.undecided(failure)),
                told => return told,
            }
            answer = request().send().await;
        }
    }

    /// A stream of "look again".
    pub(crate) async fn listen(&self, path: &str) -> Result<Response, Failure> {
        // A stream has no end, so that only its beginning has a limit.
        let Ok(answer) = timeout(GREETING, self.request(Method::GET, path).send()).await else {
            return Err(Failure::new(Exit::Unreachable, format!("{} did not begin to tell", self.url)));
        };
        let answer = answer.map_err(|e| self.lost(&Method::GET, &e))?;
        if answer.status().is_success() { Ok(answer) } else { Err(problem(answer).await) }
    }

    /// Says so when no answer comes for a while.
    async fn aloud<T>(&self, method: &Method, path: &str, asked: impl Future<Output = T>) -> T {
        let mut asked = pin!(asked);
        let within = (self.patience)(method, path);
        let looks = within > QUICK + WAY;
        tokio::select! {
            answer = &mut asked => return answer,
            () = sleep(if looks { 3 * MUTE } else { MUTE }) => {}
        }
        if !self.told_mute.swap(true, Ordering::Relaxed) {
            remark(self.mute(within));
        }
        asked.await
    }

    fn mute(&self, within: Duration) -> String {
        let way = self.instead.map(|way| format!("\n  {way}")).unwrap_or_default();
        format!("{} has not answered yet; it is waited for {} s at the most{way}", self.url, within.as_secs())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    async fn told(&self, method: &Method, answer: reqwest::Result<Response>) -> Result<Value, Failure> {
        let answer = answer.map_err(|e| self.lost(method, &e))?;
        if !answer.status().is_success() {
            return Err(problem(answer).await);
        }
        let answer = answer.json().await.map_err(|e| {
            if e.is_timeout() || !e.is_decode() {
                return self.lost(method, &e);
            }
            let says =
                format!("{} answered something that is no JSON ({e}); is it a Firebreak server?", self.url);
            Failure::new(Exit::Unreachable, says)
        })?;
        Ok(if self.in_words { foreign::value(answer) } else { answer })
    }

    fn undecided(&self, failure: Failure) -> Failure {
        let says = format!(
            "{} is still at work on it, so it may or may not have been done: look before you ask for it anew",
            self.url
        );
        Failure { exit: Exit::Unreachable, says, ..failure }
    }

    fn lost(&self, method: &Method, error: &reqwest::Error) -> Failure {
        let mut why = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(next) = cause {
            why = next.to_string();
            cause = next.source();
        }
        let url = &self.url;
        let mut says = if error.is_connect() {
            format!("{url} was not reached ({why}); is the address right, and the server up?")
        } else if *method == Method::POST {
            format!(
                "{url} gave no answer ({why}), so it may or may not have been done: look before you ask for it anew"
            )
        } else {
            format!("{url} gave no answer ({why}); is the server well?")
        };
        if let Some(way) = self.instead {
            says = format!("{says}\n  {way}");
        }
        Failure::new(Exit::Unreachable, says)
    }
}

/// As long as the server may take, and the way.
fn patience(method: &Method, path: &str) -> Duration {
    ::server::answers_within(method.as_str(), path).unwrap_or(QUICK) + WAY
}

/// How long to wait before it is asked again, as it says.
fn pause(answer: &Response) -> Duration {
    let said = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    said.map_or(AGAIN, Duration::from_secs)
}

/// What a server refused, with what to do.
async fn problem(answer: Response) -> Failure {
    let status = answer.status();
    let problem: Value = answer.json().await.unwrap_or(Value::Null);
    let word = |name: &str| problem[name].as_str().map(foreign::lines);
    let exit = match status {
        StatusCode::UNAUTHORIZED => Exit::SignedOut,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Exit::Unreachable,
        status if status.is_server_error() => Exit::Unreachable,
        StatusCode::BAD_REQUEST => Exit::Usage,
        _ if problem["code"] == "bad_inputs" || problem["code"] == "bad_request" => Exit::Usage,
        _ => Exit::Refused,
    };
    let mut says = word("detail").unwrap_or_else(|| format!("the server answered {status}"));
    let holder = problem["held_by"].as_str().map(foreign::line);
    let holder = holder.map(|run| format!("See `firebreak show {run}`."));
    for more in [word("remedy"), holder].into_iter().flatten() {
        says = format!("{says}\n  {more}");
    }
    Failure { exit, says, problem: Some(problem).filter(|p| !p.is_null()) }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const STILL: &str =
        "HTTP/1.1 409 Conflict\r\nretry-after: 0\r\ncontent-length: 18\r\n\r\n{\"code\":\"at_work\"}";
    const DONE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"on\":true}";
    /// It hangs up without a word.
    const LOST: &str = "";

    /// A server that has these answers, one for each request, and tells the key of each.
    fn answers(answers: &[&'static str]) -> (Server, Receiver<String>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (keys, asked) = channel();
        let mut left = VecDeque::from_iter(answers.iter().copied());
        std::thread::spawn(move || {
            while let Some(answer) = left.pop_front() {
                let mut stream = listener.accept().unwrap().0;
                keys.send(key(&stream)).unwrap();
                let closing = answer.replacen("\r\n", "\r\nconnection: close\r\n", 1);
                stream.write_all(closing.as_bytes()).unwrap();
            }
        });
        (Server::with(url, "fb_x".into()).unwrap(), asked)
    }

    /// Reads a request to its end; its Idempotency-Key.
    fn key(stream: &TcpStream) -> String {
        let mut reader = BufReader::new(stream);
        let (mut key, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim().split_once(": ") {
                Some(("idempotency-key", value)) => key = value.to_owned(),
                Some(("content-length", value)) => length = value.parse().unwrap(),
                None if line.trim().is_empty() => break,
                _ => {}
            }
        }
        reader.read_exact(&mut vec![0; length]).unwrap();
        key
    }

    #[tokio::test]
    async fn what_is_still_worked_on_when_it_is_repeated_is_asked_after_until_it_is_done() {
        let (server, asked) = answers(&[LOST, STILL, STILL, DONE]);
        let told = server.post_under("k", "/api/v1/brakes/stop", &Value::Null).await.unwrap();
        assert_eq!(told["on"], true);
        assert_eq!(asked.iter().collect::<Vec<_>>(), ["k"; 4]);
    }

    /// A server that takes connections and says nothing; so many it has taken.
    fn silent() -> (Server, Receiver<TcpStream>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (taken, held) = channel();
        std::thread::spawn(move || listener.incoming().try_for_each(|stream| taken.send(stream.unwrap())));
        let server = Server::with(url, "fb_x".into()).unwrap();
        (Server { patience: |_, _| Duration::from_millis(50), ..server }, held)
    }

    #[tokio::test]
    async fn who_says_nothing_is_waited_for_once_and_it_is_said_how_else_it_can_be_done() {
        let (server, held) = silent();
        let server = server.or("the other way");
        let stopped = server.post("/api/v1/brakes/stop", &Value::Null).await.unwrap_err();
        assert_eq!(stopped.exit, Exit::Unreachable);
        assert!(stopped.says.contains("may or may not have been done"), "{stopped}");
        assert!(stopped.says.ends_with("\n  the other way"), "{stopped}");
        assert_eq!(held.try_iter().count(), 1);
        let seen = server.get("/api/v1/situation").await.unwrap_err();
        assert!(seen.says.contains("gave no answer") && !seen.says.contains("done"), "{seen}");
        let mute = server.mute(Duration::from_secs(25));
        assert!(mute.contains("has not answered yet; it is waited for 25 s"), "{mute}");
        assert!(mute.ends_with("the other way"), "{mute}");
    }

    #[test]
    fn only_who_looks_at_the_world_is_waited_for_longer_than_half_a_minute() {
        let seconds = |path: &str| patience(&Method::POST, path).as_secs();
        for quick in ["brakes/stop", "runs/0190/ask", "signals/0190/dismiss", "elsewhere"] {
            assert_eq!(seconds(&format!("/api/v1/{quick}")), 25, "{quick}");
        }
        for looks in ["runs", "runbooks/heal/plan", "signals/0190/start", "readiness", "drills"] {
            assert_eq!(seconds(&format!("/api/v1/{looks}")), 185, "{looks}");
        }
        assert_eq!(patience(&Method::GET, "/api/v1/runs?open=true").as_secs(), 25);
    }

    #[tokio::test]
    async fn what_is_worked_on_for_too_long_is_no_refusal() {
        let (server, _asked) = answers(&[STILL]);
        let request = || server.request(Method::POST, "/api/v1/brakes/stop");
        let first = request().send().await;
        let failure = server.settled(request, first, Duration::ZERO).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.says.contains("may or may not have been done"), "{failure}");
        assert_eq!(failure.problem.unwrap()["code"], "at_work");
    }
}
