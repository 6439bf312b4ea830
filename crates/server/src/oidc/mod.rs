//! Signing in at an identity provider: OpenID Connect, the authorization code flow with PKCE.
//!
//! ```text
//!  "Sign in with …" ─▶ a cookie with a secret, and off to the provider with what is derived from it (state, nonce, PKCE challenge)
//!  back with a code ─▶ the state is ours? ─▶ the code becomes an ID token ─▶ signature, claims, nonce ─▶ groups ─▶ role ─▶ session
//! ```
//!
//! - Nothing is kept before the provider has said who it is: one secret in a cookie of the browser stands behind state, nonce and
//!   verifier, so that an answer is good in the browser that asked for it, and there alone.
//! - Where people are sent afterwards is an address of ours, or the first page.
//! - What somebody may do, their groups say (`domain::identity`), each time that they sign in; a session whose groups would be given
//!   another role by the configuration now is over.
//! - HTTP belongs to `actions`; here is only the function that asks ([`Ask`]).
//!
//! `jws`: signatures. `provider`: addresses and keys. Deliberately absent: refresh tokens. A session lasts a shift, and ends when the
//! provider says so (back-channel logout).

mod jws;
mod provider;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use domain::Clock;
use domain::identity::{
    Account, Expected, Grants, NamedBy, Question, Reply, Unfit, account, id_token, logout_token, said,
    same_account,
};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::Url;

use jws::{BadToken, Token};

pub use jws::{Algorithm, NoSuchAlgorithm};
pub use provider::{Metadata, is_safe};

/// Asks the provider something. [`OidcSettings`] says nothing of how.
pub type Ask = Arc<dyn Fn(Question) -> BoxFuture<'static, Result<Reply, String>> + Send + Sync>;

/// Where the provider sends people back to.
pub(crate) const CALLBACK: &str = "/sign-in/callback";

/// How a provider is used.
#[derive(Clone)]
pub struct OidcSettings {
    /// On the button.
    pub name: String,
    /// Its issuer identifier, to the letter.
    pub issuer: String,
    /// Our name there.
    pub client: String,
    /// Our password there; a public client has none.
    pub secret: Option<String>,
    /// What is asked for, beside `openid`.
    pub scopes: Vec<String>,
    /// The claim that says how people are called here.
    pub name_claim: String,
    /// The claim that lists their groups.
    pub groups_claim: String,
    /// Which groups make whom what.
    pub grants: Grants,
    /// How far the clocks of both may differ.
    pub skew: TimeDelta,
    /// Which signatures are taken.
    pub algorithms: Vec<Algorithm>,
    /// Where people reach us.
    pub public_url: String,
}

/// A provider that signs people in.
pub struct Oidc {
    settings: OidcSettings,
    ask: Ask,
    clock: Arc<dyn Clock>,
    cache: provider::Cache,
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oidc").field("issuer", &self.settings.issuer).finish_non_exhaustive()
    }
}

/// Why nobody was signed in, or out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not reached, or answers with what cannot be used.
    #[error("{0}")]
    Provider(String),
    /// It answers for another browser, or too late.
    #[error("the answer of the provider belongs to another sign-in, or came too late")]
    Stray,
    /// It did not sign them in.
    #[error("the provider says {0}")]
    Denied(String),
    /// Its token is not believed.
    #[error("{0}")]
    Token(String),
    /// They may do nothing here.
    #[error("no group of {name} may do something here ({})", told_groups(groups))]
    NoRole {
        /// How they are called.
        name: String,
        /// Their account.
        account: String,
        /// Their groups.
        groups: Vec<String>,
    },
}

fn told_groups(groups: &[String]) -> String {
    if groups.is_empty() {
        "they are in none".to_owned()
    } else {
        format!("they are in {}", groups.join(", "))
    }
}

impl From<BadToken> for Refusal {
    fn from(bad: BadToken) -> Self {
        Self::Token(bad.to_string())
    }
}

impl From<Unfit> for Refusal {
    fn from(unfit: Unfit) -> Self {
        Self::Token(unfit.to_string())
    }
}

/// Somebody whom the provider knows, and what they may do.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) account: Account,
    pub(crate) role: domain::Role,
    pub(crate) id_token: String,
}

/// What the provider sends people back with.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Answer {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: Option<String>,
}

/// The secret behind one sign-in, as its browser keeps it.
struct Secret<'a>(&'a str);

impl Secret<'_> {
    /// What is derived from it for one purpose; it tells nothing of the secret, nor of the others.
    fn derived(&self, purpose: &str) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{purpose}\0{}", self.0)))
    }

    fn state(&self) -> String {
        self.derived("state")
    }

    fn nonce(&self) -> String {
        self.derived("nonce")
    }

    /// 43 characters, as PKCE wants at least (RFC 7636).
    fn verifier(&self) -> String {
        self.derived("verifier")
    }
}

/// An address of ours to go on to, if it is one: a path that no browser takes for another host.
pub(crate) fn local(to: &str) -> Option<&str> {
    const HERE: &str = "https://here.invalid";
    let plain = to.len() <= 1000 && to.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let path = plain && to.starts_with('/') && !to.starts_with("//");
    // As a browser reads it, and not one that signs in or out again.
    let read = Url::parse(HERE).ok()?.join(to).ok()?;
    let ours = read.origin().ascii_serialization() == HERE && read.username().is_empty();
    let goes_on = !["/sign-in", "/sign-out"].iter().any(|beginning| read.path().starts_with(beginning));
    (path && ours && goes_on && !read.path().starts_with("//")).then_some(to)
}

impl Oidc {
    /// A provider, and the function that asks it. Nothing is asked yet.
    pub fn new(settings: OidcSettings, ask: Ask, clock: Arc<dyn Clock>) -> Self {
        Self { settings, ask, clock, cache: provider::Cache::default() }
    }

    /// On the button.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Who it is.
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Which groups make whom what.
    pub(crate) fn grants(&self) -> &Grants {
        &self.settings.grants
    }

    /// The name of an account that nobody else ever has.
    pub(crate) fn account_of(&self, subject: &str) -> String {
        format!("{} {subject}", self.settings.issuer)
    }

    fn expected(&self) -> Expected<'_> {
        let OidcSettings { issuer, client, skew, .. } = &self.settings;
        Expected { issuer, client, skew: *skew }
    }

    fn callback(&self) -> String {
        format!("{}{CALLBACK}", self.settings.public_url)
    }

    /// Where a browser that keeps this secret is sent to sign in.
    pub(crate) async fn departure(&self, secret: &str) -> Result<String, Refusal> {
        let metadata = self.metadata().await?;
        let mut address = Url::parse(&metadata.authorization_endpoint)
            .map_err(|e| Refusal::Provider(format!("its address for signing in is none: {e}")))?;
        let secret = Secret(secret);
        let scopes: Vec<&str> = std::iter::once("openid")
            .chain(self.settings.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid"))
            .collect();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(secret.verifier()));
        address
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client)
            .append_pair("redirect_uri", &self.callback())
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", &secret.state())
            .append_pair("nonce", &secret.nonce())
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(address.into())
    }

    /// Who came back, if the browser keeps the secret that they left with.
    pub(crate) async fn arrival(&self, secret: Option<&str>, answer: Answer) -> Result<Known, Refusal> {
        let secret = Secret(secret.ok_or(Refusal::Stray)?);
        // Hashes are compared, so that the time it takes tells nothing.
        let same = |one: &str, other: &str| Sha256::digest(one) == Sha256::digest(other);
        if !answer.state.is_some_and(|state| same(&state, &secret.state())) {
            return Err(Refusal::Stray);
        }
        let metadata = self.metadata().await?;
        match &answer.iss {
            Some(issuer) if *issuer != self.settings.issuer => {
                let issuer = cut(issuer);
                return Err(Refusal::Token(format!("another provider has answered: {issuer}")));
            }
            None if metadata.authorization_response_iss_parameter_supported => {
                return Err(Refusal::Token("the answer does not say which provider it is of".into()));
            }
            _ => {}
        }
        if let Some(error) = answer.error {
            let why =
                [Some(error), answer.error_description].into_iter().flatten().collect::<Vec<_>>().join(": ");
            return Err(Refusal::Denied(cut(&why)));
        }
        let code = answer.code.ok_or(Refusal::Stray)?;
        let tokens = self.redeem(&metadata, &code, &secret.verifier()).await?;
        let token = Token::read(&tokens.id_token, self.algorithms())?;
        let claims = token.claims(&self.key(&token).await?)?;
        id_token(&claims, self.expected(), &secret.nonce(), self.clock.now())?;
        if let (Some(hash), Some(access)) = (claims.get("at_hash"), &tokens.access_token)
            && hash.as_str() != Some(&token.algorithm.half_hash(access))
        {
            return Err(Refusal::Token(
                "the access token is not the one that belongs to the ID token".into(),
            ));
        }
        let claims = self.completed(&metadata, claims, tokens.access_token.as_deref()).await?;
        let by = NamedBy { name: &self.settings.name_claim, groups: &self.settings.groups_claim };
        let account = account(&claims, by)?;
        match self.grants().role(&account.groups) {
            Some(role) => Ok(Known { account, role, id_token: tokens.id_token }),
            None => Err(Refusal::NoRole {
                account: self.account_of(&account.subject),
                name: account.name,
                groups: account.groups,
            }),
        }
    }

    /// The code becomes tokens.
    async fn redeem(&self, metadata: &Metadata, code: &str, verifier: &str) -> Result<Tokens, Refusal> {
        let OidcSettings { client, secret, .. } = &self.settings;
        let mut form: Vec<(String, String)> = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.callback()),
            ("code_verifier", verifier),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        // Basic is what all are to know (RFC 6749 2.3.1); some say that they take the form alone.
        let methods = metadata.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
        let basic = methods.is_empty() || methods.iter().any(|method| method == "client_secret_basic");
        let authorization = secret.as_ref().filter(|_| basic).map(|secret| {
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(client), encoded(secret))))
        });
        if authorization.is_none() {
            form.push(("client_id".into(), client.clone()));
            form.extend(secret.iter().map(|secret| ("client_secret".to_owned(), secret.clone())));
        }
        let question = Question { address: metadata.token_endpoint.clone(), form: Some(form), authorization };
        let reply = self.asked(question).await?;
        serde_json::from_slice(&reply.body)
            .map_err(|_| Refusal::Provider("the provider answers without an ID token".into()))
    }

    /// Some providers keep names and groups out of the token, and tell them when asked.
    async fn completed(
        &self,
        metadata: &Metadata,
        mut claims: Map<String, Value>,
        access: Option<&str>,
    ) -> Result<Map<String, Value>, Refusal> {
        let OidcSettings { name_claim, groups_claim, .. } = &self.settings;
        let missing = [name_claim, groups_claim].into_iter().any(|name| said(&claims, name).is_none());
        let (true, Some(address), Some(access)) = (missing, &metadata.userinfo_endpoint, access) else {
            return Ok(claims);
        };
        let authorization = Some(format!("Bearer {access}"));
        let reply = self.asked(Question { authorization, ..Question::get(address) }).await?;
        let told: Map<String, Value> = serde_json::from_slice(&reply.body)
            .map_err(|_| Refusal::Provider(format!("what {address} tells is not understood")))?;
        same_account(&claims, &told)?;
        for (name, value) in told {
            // What is signed is not overwritten.
            claims.entry(name).or_insert(value);
        }
        Ok(claims)
    }

    /// Where a browser is sent to sign out there, too; nowhere, if the provider has no such place.
    pub(crate) async fn way_out(&self, id_token: &str) -> Option<String> {
        let metadata =
            self.metadata().await.inspect_err(|e| tracing::warn!("signed out here alone: {e}")).ok()?;
        let mut address = Url::parse(metadata.end_session_endpoint.as_deref()?).ok()?;
        address
            .query_pairs_mut()
            .append_pair("id_token_hint", id_token)
            .append_pair("client_id", &self.settings.client)
            .append_pair("post_logout_redirect_uri", &format!("{}/sign-in", self.settings.public_url));
        Some(address.into())
    }

    /// Whose sessions the provider says are over (Back-Channel Logout): the account, the session there.
    pub(crate) async fn ended(&self, token: &str) -> Result<(Option<String>, Option<String>), Refusal> {
        let token = Token::read(token, self.algorithms())?;
        let claims = token.claims(&self.key(&token).await?)?;
        let (subject, session) = logout_token(&claims, self.expected(), self.clock.now())?;
        Ok((subject.map(|subject| self.account_of(&subject)), session))
    }
}

/// What stands in an address, which anybody can write: it is kept in the audit for good, so no more of it than tells what it is.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_ours_is_gone_on_to() {
        for ours in ["/", "/runs", "/runs/1?tab=calls&all=1", "/audit?q=%2F%2Fevil"] {
            assert_eq!(local(ours), Some(ours));
        }
        for other in [
            "",
            "runs",
            "//evil.example.com",
            "///evil.example.com",
            "/\\evil.example.com",
            "\\\\evil",
            "/\t/evil",
            "https://evil.example.com",
            "javascript:alert(1)",
            "/..//evil.example.com",
            "/.//evil",
            "/x\r\nset-cookie: a",
            "/sign-in/callback?code=1",
            "/sign-out",
            "/a/../sign-in",
            "@evil.example.com",
        ] {
            assert_eq!(local(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_is_derived_from_a_secret_is_different_for_each_purpose() {
        let (one, other) = (Secret("a"), Secret("b"));
        let all = [one.state(), one.nonce(), one.verifier(), other.state(), other.nonce(), other.verifier()];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), 6);
        assert!(all.iter().all(|text| text.len() == 43));
    }
}
