//! People sign in at a real OpenID provider, through its own forms, with a browser that is a plain HTTP client with cookies.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use reqwest::header::{COOKIE, LOCATION, REFRESH, SET_COOKIE};
use serde_json::{Value, json};
use sim::{Options, Sim, World};

use crate::chrome::free_address;
use crate::served::{Served, http};

const SECRET: &str = "a secret of the test's";

/// The provider's process. Dropping it kills it.
struct Provider {
    process: Child,
    port: String,
    settings: Value,
    /// Kept open: a program that cannot print any more ends.
    _stdout: BufReader<ChildStdout>,
}

impl Provider {
    fn start(port: String, settings: Value) -> Self {
        let program = |variable: &str| {
            std::env::var(variable)
                .unwrap_or_else(|_| panic!("{variable} is not set; run the tests with `cargo xtask test`"))
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/provider.mjs");
        let mut process = Command::new(program("FIREBREAK_NODE"))
            .arg(script)
            .arg(program("FIREBREAK_OIDC_PROVIDER"))
            .arg(settings.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let listens = stdout.by_ref().lines().map_while(Result::ok).any(|line| line == "listening");
        assert!(listens, "the provider never listened");
        Self { process, port, settings, _stdout: stdout }
    }

    /// The same one with new keys; it has forgotten who is signed in there.
    fn restart(mut self) -> Self {
        self.kill();
        Self::start(self.port.clone(), self.settings.clone())
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A browser: it keeps cookies, follows redirects, and sends the one form of a page.
struct Browser {
    client: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

/// A page on which it has come to rest.
struct Page {
    url: String,
    status: u16,
    text: String,
    refresh: Option<String>,
}

impl Browser {
    fn new() -> Self {
        Self { client: http(), cookies: BTreeMap::new() }
    }

    async fn go(&mut self, url: &str) -> Page {
        self.send(url, None).await
    }

    async fn send(&mut self, url: &str, form: Option<&[(String, String)]>) -> Page {
        let (mut url, mut form) = (reqwest::Url::parse(url).unwrap(), form);
        for _ in 0..20 {
            let kept: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let request = match form.take() {
                Some(form) => self.client.post(url.clone()).form(form),
                None => self.client.get(url.clone()),
            };
            let answer = request.header(COOKIE, kept.join("; ")).send().await.unwrap();
            for cookie in answer.headers().get_all(SET_COOKIE) {
                let cookie = cookie.to_str().unwrap();
                let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
                if value.is_empty() || cookie.contains("01 Jan 1970") {
                    self.cookies.remove(name);
                } else {
                    self.cookies.insert(name.to_owned(), value.to_owned());
                }
            }
            match answer.headers().get(LOCATION) {
                Some(to) => url = url.join(to.to_str().unwrap()).unwrap(),
                None => {
                    let refresh = answer.headers().get(REFRESH).map(|to| to.to_str().unwrap().to_owned());
                    let status = answer.status().as_u16();
                    return Page { url: url.into(), status, text: answer.text().await.unwrap(), refresh };
                }
            }
        }
        panic!("{url} leads on and on")
    }

    /// Sends the form of a page, with more in it.
    async fn submit(&mut self, page: &Page, more: &[(&str, &str)]) -> Page {
        let form = page.text.split("<form").nth(1).unwrap_or_else(|| panic!("no form: {}", page.text));
        let form = form.split("</form>").next().unwrap();
        let attribute = |tag: &str, name: &str| {
            let (_, rest) = tag.split_once(&format!("{name}=\""))?;
            Some(rest.split('"').next().unwrap().replace("&amp;", "&"))
        };
        let to = attribute(form, "action").unwrap();
        let hidden = form.split("<input").skip(1).filter(|tag| tag.contains("hidden"));
        let mut fields: Vec<(String, String)> =
            hidden.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?))).collect();
        fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let to = reqwest::Url::parse(&page.url).unwrap().join(&to).unwrap();
        self.send(to.as_str(), Some(&fields)).await
    }

    /// Signs in at the provider, through the login and the consent that it asks for.
    async fn sign_in(&mut self, firebreak: &str, to: &str, login: &str) -> Page {
        let page = self.go(&format!("{firebreak}/sign-in?to={to}")).await;
        assert!(page.text.contains("Sign in with Example"), "{}", page.text);
        let mut page = self.go(&format!("{firebreak}/sign-in/with-provider?to={to}")).await;
        while page.url.contains("/interaction/") {
            let more: &[_] = if page.text.contains("name=\"login\"") {
                &[("login", login), ("password", "x")]
            } else {
                &[]
            };
            page = self.submit(&page, more).await;
        }
        page
    }

    async fn session(&mut self, firebreak: &str) -> Option<Value> {
        let page = self.go(&format!("{firebreak}/api/v1/session")).await;
        (page.status == 200).then(|| serde_json::from_str(&page.text).unwrap())
    }
}

/// Firebreak and the provider, each knowing the other.
async fn both() -> (Sim, Served, Provider) {
    let (ours, theirs) = (free_address(), free_address());
    let (firebreak, issuer) = (format!("http://{ours}"), format!("http://{theirs}"));
    let client = json!({
        "client_id": "firebreak", "client_secret": SECRET, "redirect_uris": [format!("{firebreak}/sign-in/callback")],
        "post_logout_redirect_uris": [format!("{firebreak}/sign-in")],
        "backchannel_logout_uri": format!("{firebreak}/sign-in/back-channel"),
    });
    let port = theirs.rsplit(':').next().unwrap().to_owned();
    let settings = json!({
        "port": port.parse::<u16>().unwrap(), "client": client,
        "accounts": { "ana": ["oncall", "leads"], "eve": ["web"] },
    });
    let provider = Provider::start(port, settings);
    let sim = Sim::start(World::incident_2024_05_07(), Options::default()).await.unwrap();
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), SECRET).unwrap();
    let oidc = json!({
        "name": "Example", "issuer": issuer, "client_id": "firebreak", "client_secret": { "file": secret.path() },
        "scopes": ["email", "groups"], "groups": { "oncall": "responder", "leads": "approver" },
    });
    let served = Served::on_with(&sim, &json!({ "listen": ours, "auth": { "oidc": oidc } })).await;
    assert_eq!(served.url, firebreak);
    let doctor = served.told(&["doctor", "--json"]);
    let findings: Value = serde_json::from_str(&doctor).unwrap();
    let found = findings["findings"].as_array().unwrap().iter().find(|f| f["what"] == "provider").unwrap();
    assert_eq!(found["state"], "ok", "{found}");
    (sim, served, provider)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_sign_in_at_a_real_provider_go_on_when_its_keys_change_and_sign_out_of_both() {
    let (_sim, served, provider) = both().await;
    let firebreak = served.url.clone();
    let mut ana = Browser::new();
    let page = ana.sign_in(&firebreak, "/runbooks", "ana").await;
    assert_eq!(
        (page.url.as_str(), page.status),
        (format!("{firebreak}/runbooks").as_str(), 200),
        "{}",
        page.text
    );
    let session = ana.session(&firebreak).await.unwrap();
    assert_eq!((&session["person"], &session["role"]), (&json!("ana@example.com"), &json!("approver")));

    let mut eve = Browser::new();
    let page = eve.sign_in(&firebreak, "/", "eve").await;
    assert_eq!(page.status, 403, "{}", page.text);
    assert!(page.text.contains("No group of eve@example.com"), "{}", page.text);
    assert!(eve.session(&firebreak).await.is_none());

    let provider = provider.restart();
    assert!(ana.session(&firebreak).await.is_some(), "who is signed in goes on");
    let mut again = Browser::new();
    let page = again.sign_in(&firebreak, "/", "ana").await;
    assert_eq!(page.status, 200, "signed by a key that was not known: {}", page.text);

    // Out of Firebreak, and on to the provider, which asks and comes back.
    let csrf = again.session(&firebreak).await.unwrap()["csrf"].as_str().unwrap().to_owned();
    let form = [("csrf".to_owned(), csrf)];
    let page = again.send(&format!("{firebreak}/sign-out"), Some(&form)).await;
    assert!(again.session(&firebreak).await.is_none());
    let onward = page.refresh.unwrap();
    let page = again.go(onward.strip_prefix("0;url=").unwrap()).await;
    let page = again.submit(&page, &[("logout", "yes")]).await;
    assert_eq!(page.url.split('?').next().unwrap(), format!("{firebreak}/sign-in"), "{}", page.text);
    let page = again.go(&format!("{firebreak}/sign-in/with-provider")).await;
    assert!(page.text.contains("name=\"login\""), "signed out there, too: {}", page.text);

    drop(provider);
    assert!(ana.session(&firebreak).await.is_some(), "and while the provider is down");
    let told = served.command(&["audit", "verify"]);
    assert!(!told.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_out_at_the_provider_ends_the_session_here() {
    let (_sim, served, provider) = both().await;
    let firebreak = served.url.clone();
    let mut ana = Browser::new();
    assert_eq!(ana.sign_in(&firebreak, "/", "ana").await.status, 200);
    assert!(ana.session(&firebreak).await.is_some());
    let page = ana.go(&format!("http://127.0.0.1:{}/session/end", provider.port)).await;
    ana.submit(&page, &[("logout", "yes")]).await;
    assert!(ana.session(&firebreak).await.is_none(), "the provider has said so before it answered");
    let told: i64 =
        sqlx::query_scalar("SELECT count(*) FROM audit WHERE action = 'signed out by the provider'")
            .fetch_one(served.db.pool())
            .await
            .unwrap();
    assert_eq!(told, 1);
}
