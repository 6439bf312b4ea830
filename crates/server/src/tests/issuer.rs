//! A tiny provider that says whatever a test wants: with any claims, any signature and any keys.
//!
//! It stands behind the function that asks, so that nothing is on the wire; a real provider is in the binary's tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta};
use domain::identity::{Grants, Question, Reply};
use domain::{Clock, Role, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::bench::{Answer, Bench};
use crate::{Algorithm, Oidc, OidcSettings};

pub(super) const ISSUER: &str = "https://id.example.com";

/// A clock that stands until it is set.
#[derive(Debug)]
pub(super) struct Standing(Mutex<Timestamp>);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        futures::future::ready(()).boxed()
    }
}

/// A key, by which the provider signs.
pub(super) struct Signer {
    pair: EcdsaKeyPair,
    pub(super) kid: String,
}

impl Signer {
    pub(super) fn new(kid: &str) -> Self {
        let (random, how) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        Self { pair: EcdsaKeyPair::from_pkcs8(how, pkcs8.as_ref(), &random).unwrap(), kid: kid.into() }
    }

    /// Its public half, as it is published.
    pub(super) fn published(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.kid, "x": part(&point[1..33]), "y": part(&point[33..]) })
    }

    /// A token with these claims, under this header.
    pub(super) fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({ "alg": "ES256", "kid": self.kid }), claims)
    }
}

/// Header and claims, as they are signed.
pub(super) fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// What the provider holds.
pub(super) struct Held {
    pub(super) keys: Vec<Value>,
    pub(super) id_token: String,
    pub(super) userinfo: Value,
    /// What discovery says instead.
    pub(super) metadata: Map<String, Value>,
    /// It answers nothing.
    pub(super) down: bool,
    /// How often each address was asked.
    pub(super) asked: BTreeMap<String, u32>,
    /// What the code is redeemed with must hash to this.
    challenge: String,
}

/// A provider.
pub(super) struct Issuer {
    held: Arc<Mutex<Held>>,
    clock: Arc<Standing>,
    pub(super) signer: Signer,
}

/// Somebody who has left for the provider.
pub(super) struct Away {
    pub(super) cookie: String,
    pub(super) state: String,
    pub(super) nonce: String,
}

impl Issuer {
    pub(super) fn new() -> Self {
        let signer = Signer::new("one");
        let held = Held {
            keys: vec![signer.published()],
            id_token: String::new(),
            userinfo: json!({}),
            metadata: Map::new(),
            down: false,
            asked: BTreeMap::new(),
            challenge: String::new(),
        };
        let clock = Standing(Mutex::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
        Self { held: Arc::new(Mutex::new(held)), clock: Arc::new(clock), signer }
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now().timestamp()
    }

    pub(super) fn pass(&self, time: TimeDelta) {
        *self.clock.0.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }

    /// How a server uses it.
    pub(super) fn used(&self, groups: &[(&str, Role)]) -> Arc<Oidc> {
        let held = self.held.clone();
        let ask = move |question: Question| {
            let reply = answer(&mut held.lock().unwrap_or_else(PoisonError::into_inner), &question);
            futures::future::ready(reply).boxed()
        };
        let settings = OidcSettings {
            name: "Example".into(),
            issuer: ISSUER.into(),
            client: "firebreak".into(),
            secret: Some("a secret".into()),
            scopes: vec!["email".into()],
            name_claim: "email".into(),
            groups_claim: "groups".into(),
            grants: Grants {
                groups: groups.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect(),
                everybody: None,
            },
            skew: TimeDelta::seconds(60),
            algorithms: Algorithm::USUAL.to_vec(),
            public_url: "http://localhost:8080".into(),
        };
        Arc::new(Oidc::new(settings, Arc::new(ask), self.clock.clone()))
    }

    /// What it says of somebody, as it should.
    pub(super) fn claims(&self, nonce: &str, name: &str, groups: &[&str]) -> Value {
        json!({
            "iss": ISSUER, "aud": "firebreak", "sub": format!("id of {name}"), "sid": format!("session of {name}"),
            "nonce": nonce, "iat": self.now(), "exp": self.now() + 300, "email": name, "groups": groups,
        })
    }

    /// A browser leaves for the provider.
    pub(super) async fn depart(&self, bench: &Bench, to: &str) -> Away {
        let answer = bench.get(&format!("/sign-in/with-provider?to={to}")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        let there = Url::parse(answer.header(header::LOCATION)).unwrap();
        assert!(there.as_str().starts_with("https://id.example.com/authorize?"), "{there}");
        let asked: BTreeMap<_, _> = there.query_pairs().into_owned().collect();
        assert_eq!(asked["redirect_uri"], "http://localhost:8080/sign-in/callback");
        assert_eq!(
            (asked["code_challenge_method"].as_str(), asked["scope"].as_str()),
            ("S256", "openid email")
        );
        self.held().challenge.clone_from(&asked["code_challenge"]);
        Away {
            cookie: answer.cookies().remove(0),
            state: asked["state"].clone(),
            nonce: asked["nonce"].clone(),
        }
    }

    /// And comes back, with a token that says this.
    pub(super) async fn arrive(&self, bench: &Bench, away: &Away, id_token: String) -> Answer {
        self.held().id_token = id_token;
        back(bench, &away.cookie, &format!("code=c&state={}&iss={ISSUER}", away.state)).await
    }

    /// Somebody of these groups signs in. The answer.
    pub(super) async fn sign_in(&self, bench: &Bench, name: &str, groups: &[&str]) -> Answer {
        let away = self.depart(bench, "/").await;
        let id_token = self.signer.sign(&self.claims(&away.nonce, name, groups));
        self.arrive(bench, &away, id_token).await
    }
}

/// A browser with this cookie is sent to the address for coming back.
pub(super) async fn back(bench: &Bench, cookie: &str, query: &str) -> Answer {
    let request = Request::get(format!("/sign-in/callback?{query}")).header(header::COOKIE, cookie);
    bench.send(request.body(Body::empty()).unwrap()).await
}

fn answer(held: &mut Held, question: &Question) -> Result<Reply, String> {
    *held.asked.entry(question.address.clone()).or_default() += 1;
    if held.down {
        return Err("it does not answer".into());
    }
    let (status, body) = match question.address.strip_prefix(ISSUER).unwrap() {
        "/.well-known/openid-configuration" => {
            let mut told = json!({
                "issuer": ISSUER, "authorization_endpoint": format!("{ISSUER}/authorize"),
                "token_endpoint": format!("{ISSUER}/token"), "jwks_uri": format!("{ISSUER}/keys"),
                "userinfo_endpoint": format!("{ISSUER}/me"), "end_session_endpoint": format!("{ISSUER}/end"),
                "authorization_response_iss_parameter_supported": true,
            });
            told.as_object_mut().unwrap().extend(held.metadata.clone());
            (200, told)
        }
        "/keys" => (200, json!({ "keys": held.keys })),
        "/token" => {
            let form: BTreeMap<_, _> = question.form.clone().unwrap().into_iter().collect();
            assert!(question.authorization.as_ref().unwrap().starts_with("Basic "));
            let verifier = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
            if verifier == held.challenge {
                (200, json!({ "id_token": held.id_token, "access_token": "access", "token_type": "Bearer" }))
            } else {
                (400, json!({ "error": "invalid_grant", "error_description": "PKCE verification failed" }))
            }
        }
        "/me" if question.authorization.as_deref() == Some("Bearer access") => (200, held.userinfo.clone()),
        other => panic!("{other} is asked"),
    };
    Ok(Reply { status, date: None, body: body.to_string().into_bytes() })
}
