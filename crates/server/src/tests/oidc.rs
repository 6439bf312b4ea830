//! Signing in at a provider: who gets in as what, whom no forged word lets in, and what ends when it should.

use axum::body::Body;
use axum::http::{HeaderName, Method, Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use domain::Role;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::bench::{Answer, Bench, Setting, wish};
use super::issuer::{ISSUER, Issuer, Signer, back, unsigned};

const GROUPS: [(&str, Role); 3] =
    [("oncall", Role::Responder), ("leads", Role::Approver), ("root", Role::Admin)];

async fn bench(issuer: &Issuer) -> Bench {
    let setting = Setting { oidc: Some(issuer.used(&GROUPS)), ..Setting::default() };
    Bench::set(&[], super::hooks::open(), setting).await
}

/// The cookie of the session that an answer opens.
fn session(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    answer.cookies().into_iter().find(|cookie| cookie.starts_with("firebreak=")).unwrap()
}

/// May whoever has this cookie look?
async fn good(bench: &Bench, cookie: &str) -> bool {
    let request = Request::get("/api/v1/session").header(header::COOKIE, cookie);
    bench.send(request.body(Body::empty()).unwrap()).await.status == StatusCode::OK
}

async fn refusals(bench: &Bench) -> Vec<(String, String)> {
    let told = bench.audited("sign-in refused").await;
    told.into_iter().map(|(who, details)| (who, details["why"].as_str().unwrap().to_owned())).collect()
}

#[tokio::test]
async fn groups_become_a_role_and_one_lands_where_one_wanted_to() {
    let issuer = Issuer::new();
    let bench = bench(&issuer).await;
    let refused = bench.get("/runs?state=open").await;
    assert!(refused.text.contains("/sign-in?to=%2Fruns%3Fstate%3Dopen"), "{}", refused.text);
    let page = bench.get("/sign-in?to=%2Fruns%3Fstate%3Dopen").await.text;
    assert!(
        page.contains("Sign in with Example")
            && page.contains("/sign-in/with-provider?to=%2Fruns%3Fstate%3Dopen"),
        "{page}"
    );

    let away = issuer.depart(&bench, "%2Fruns%3Fstate%3Dopen").await;
    let token =
        issuer.signer.sign(&issuer.claims(&away.nonce, "ana@example.com", &["oncall", "leads", "web"]));
    let answer = issuer.arrive(&bench, &away, token).await;
    assert_eq!(answer.header(header::LOCATION), "/runs?state=open");
    let ana = bench.person(&session(&answer)).await;
    let told = ana.get("/api/v1/session").await.json();
    assert_eq!((&told["person"], &told["role"]), (&json!("ana@example.com"), &json!("approver")));
    assert_eq!(told["groups"], json!(["oncall", "leads", "web"]));
    let audited = bench.audited("signed in").await.remove(0).1;
    assert_eq!(
        (&audited["by"], &audited["account"]),
        (&json!("provider"), &json!(format!("{ISSUER} id of ana@example.com")))
    );
    // Not twice: the secret was taken back, and another sign-in has another one.
    assert!(
        answer
            .headers
            .get_all(header::SET_COOKIE)
            .iter()
            .any(|c| c.to_str().unwrap().contains("firebreak-sign-in=;"))
    );
}

#[tokio::test]
async fn whoever_is_in_no_group_that_is_listed_stays_outside_and_the_audit_says_so() {
    let issuer = Issuer::new();
    let bench = bench(&issuer).await;
    let answer = issuer.sign_in(&bench, "eve@example.com", &["web", "Root"]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(
        answer.cookies().is_empty() && answer.text.contains("No group of eve@example.com"),
        "{}",
        answer.text
    );
    let (who, why) = refusals(&bench).await.remove(0);
    assert_eq!(who, "eve@example.com");
    assert!(why.contains("web, Root"), "{why}");
}

#[tokio::test]
async fn claims_that_the_token_leaves_out_are_asked_for_and_must_be_of_the_same_account() {
    let issuer = Issuer::new();
    let bench = bench(&issuer).await;
    let thin = async |userinfo: Value| {
        let away = issuer.depart(&bench, "/").await;
        let mut claims = issuer.claims(&away.nonce, "ana@example.com", &[]);
        claims.as_object_mut().unwrap().retain(|name, _| name != "groups" && name != "email");
        issuer.held().userinfo = userinfo;
        issuer.arrive(&bench, &away, issuer.signer.sign(&claims)).await
    };
    let other = json!({ "sub": "id of eve", "email": "ana@example.com", "groups": ["root"] });
    assert_eq!(thin(other).await.status, StatusCode::FORBIDDEN);
    let same = json!({ "sub": "id of ana@example.com", "email": "ana@example.com", "groups": ["oncall"], "iss": "x" });
    assert!(good(&bench, &session(&thin(same).await)).await);
}

/// Tokens that nobody may get in with: what is wrong, the token, and the reason that the audit gives.
fn hostile(issuer: &Issuer, nonce: &str) -> Vec<(String, &'static str)> {
    let (signer, stranger, now) = (&issuer.signer, Signer::new("one"), issuer.now());
    let good = issuer.claims(nonce, "eve@example.com", &["root"]);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        signer.sign(&claims)
    };
    let header = json!({ "alg": "ES256", "kid": "one" });
    // The public key, used as the secret of a MAC: the oldest trick.
    let mac = |header: &Value| {
        let signed = unsigned(header, &good);
        let mut mac = Hmac::<Sha256>::new_from_slice(signer.published().to_string().as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    };
    let swapped = {
        let (mine, admin) = (signer.sign(&good), unsigned(&header, &with_role(&good)));
        format!("{admin}.{}", mine.rsplit('.').next().unwrap())
    };
    vec![
        (with("aud", json!("somebody-else")), "not for us"),
        (with("aud", json!(["firebreak", "somebody-else"])), "`azp`"),
        (with("azp", json!("somebody-else")), "another client"),
        (with("iss", json!("https://evil.example.com")), "another issuer"),
        (with("nonce", json!("of another sign-in")), "nonce"),
        (with("exp", json!(now - 61)), "expired 61 s ago"),
        (with("iat", json!(now + 61)), "61 s ahead"),
        (with("nbf", json!(now + 3600)), "3600 s ahead"),
        (with("iat", json!(now - 3600)), "3600 s ago, and not for this sign-in"),
        (with("at_hash", json!("bm90IHRoZSBvbmU")), "access token"),
        (with("email", json!("eve\u{202e}@example.com")), "names nobody"),
        (format!("{}.", unsigned(&json!({ "alg": "none" }), &good)), "signed by `none`"),
        (format!("{}.", unsigned(&json!({ "alg": "None", "kid": "one" }), &good)), "signed by `None`"),
        (mac(&json!({ "alg": "HS256", "kid": "one" })), "signed by `HS256`"),
        (mac(&header), "signature of the token is wrong"),
        (stranger.sign(&good), "signature of the token is wrong"),
        (swapped, "signature of the token is wrong"),
        (signer.sign_as(&json!({ "alg": "ES256", "kid": "two" }), &good), "does not publish"),
        (signer.sign_as(&json!({ "alg": "RS256", "kid": "one" }), &good), "does not publish"),
        (
            signer.sign_as(&json!({ "alg": "ES256", "kid": "one", "crit": ["b64"], "b64": false }), &good),
            "demands",
        ),
        // A key that comes with the token is nobody's.
        (
            stranger.sign_as(&json!({ "alg": "ES256", "jwk": stranger.published() }), &good),
            "signature of the token is wrong",
        ),
        ("not.a.token".into(), "no signed token"),
        (String::new(), "no signed token"),
    ]
}

fn with_role(claims: &Value) -> Value {
    let mut claims = claims.clone();
    claims["groups"] = json!(["root", "leads"]);
    claims
}

#[tokio::test]
async fn no_forged_or_stolen_token_lets_anybody_in_and_each_has_its_reason_in_the_audit() {
    let issuer = Issuer::new();
    let mut bench = bench(&issuer).await;
    let count = hostile(&issuer, "").len();
    for at in 0..count {
        if at % 10 == 0 {
            // A fresh server: one address may be refused twenty times a minute.
            bench.behind(Some(issuer.used(&GROUPS)));
        }
        let away = issuer.depart(&bench, "/").await;
        let (token, why) = hostile(&issuer, &away.nonce).remove(at);
        let answer = issuer.arrive(&bench, &away, token.clone()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{why}: {}", answer.text);
        assert!(answer.cookies().is_empty(), "{why}: {:?}", answer.cookies());
        let told = refusals(&bench).await;
        assert_eq!(told.len(), at + 1);
        assert!(told[at].1.contains(why), "{why}: {:?}", told[at]);
    }
    assert!(bench.audited("signed in").await.is_empty());
    assert!(
        good(&bench, &session(&issuer.sign_in(&bench, "ana", &["oncall"]).await)).await,
        "a good one does"
    );
}

#[tokio::test]
async fn clocks_may_differ_a_little() {
    let issuer = Issuer::new();
    let bench = bench(&issuer).await;
    for shift in [-59, 60] {
        let away = issuer.depart(&bench, "/").await;
        let mut claims = issuer.claims(&away.nonce, "ana", &["oncall"]);
        claims["iat"] = json!(issuer.now() + shift);
        claims["exp"] = json!(issuer.now() + shift);
        let answer = issuer.arrive(&bench, &away, issuer.signer.sign(&claims)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{shift}: {}", answer.text);
    }
}

#[tokio::test]
async fn an_answer_is_good_in_the_browser_that_asked_for_it_and_there_alone() {
    let issuer = Issuer::new();
    let bench = bench(&issuer).await;
    let (mine, theirs) = (issuer.depart(&bench, "/").await, issuer.depart(&bench, "/").await);
    issuer.held().id_token = issuer.signer.sign(&issuer.claims(&theirs.nonce, "eve", &["root"]));
    let query = format!("code=c&state={}&iss={ISSUER}", theirs.state);
    for cookie in ["", mine.cookie.as_str(), "firebreak-sign-in=", "firebreak-sign-in=x.zz"] {
        let answer = back(&bench, cookie, &query).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{cookie}: {}", answer.text);
        assert!(answer.cookies().is_empty());
    }
    for query in ["", "code=c", "state=x&code=c"] {
        assert_eq!(back(&bench, &theirs.cookie, query).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
    // Another provider's answer is not taken for this one's, and one that does not say whose it is is not, either.
    for iss in ["&iss=https://evil.example.com", ""] {
        let query = format!("code=c&state={}{iss}", theirs.state);
        assert_eq!(back(&bench, &theirs.cookie, &query).await.status, StatusCode::FORBIDDEN, "{iss}");
    }
    // Of what anybody can write into an address, the audit keeps for good no more than tells what it is.
    let long = format!("code=c&state={}&iss=https://evil.example.com/%0A{}", theirs.state, "x".repeat(5000));
    back(&bench, &theirs.cookie, &long).await;
    let kept: Vec<_> = refusals(&bench).await.into_iter().filter(|(_, why)| why.contains("xxx")).collect();
    assert!(kept.len() == 1 && kept[0].1.contains("evil.example.com/xxx"), "{kept:?}");
    assert!(kept[0].1.len() < 400, "{kept:?}");
    // A code of somebody else's is worth nothing without the secret that it was asked with: the provider refuses it.
    let stolen = format!("code=c&state={}&iss={ISSUER}", mine.state);
    assert_eq!(back(&bench, &mine.cookie, &stolen).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(back(&bench, &theirs.cookie, &query).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn nobody_is_sent_to_another_site() {
    let issuer = Issuer::new();
    let bench = bench(&issuer).await;
    for to in [
        "https:%2F%2Fevil.example.com",
        "%2F%2Fevil.example.com",
        "%2F%5Cevil.example.com",
        "evil",
        "%2F%09%2Fevil",
    ] {
        let away = issuer.depart(&bench, to).await;
        let token = issuer.signer.sign(&issuer.claims(&away.nonce, "ana", &["oncall"]));
        assert_eq!(issuer.arrive(&bench, &away, token).await.header(header::LOCATION), "/", "{to}");
        assert!(!bench.get(&format!("/sign-in?to={to}")).await.text.contains("evil"), "{to}");
    }
    // Nor by a cookie that somebody has put there.
    let away = issuer.depart(&bench, "/").await;
    let secret = away.cookie.split('.').next().unwrap();
    let cookie = format!("{secret}.{}", hex::encode("//evil.example.com"));
    issuer.held().id_token = issuer.signer.sign(&issuer.claims(&away.nonce, "ana", &["oncall"]));
    let answer = back(&bench, &cookie, &format!("code=c&state={}&iss={ISSUER}", away.state)).await;
    assert_eq!(answer.header(header::LOCATION), "/");
}

#[tokio::test]
async fn keys_change_while_people_are_signed_in_and_made_up_ones_make_us_ask_seldom() {
    let mut issuer = Issuer::new();
    let bench = bench(&issuer).await;
    let ana = session(&issuer.sign_in(&bench, "ana", &["oncall"]).await);
    let old = std::mem::replace(&mut issuer.signer, Signer::new("two"));
    issuer.held().keys = vec![old.published(), issuer.signer.published()];
    let bob = session(&issuer.sign_in(&bench, "bob", &["oncall"]).await);
    assert!(good(&bench, &ana).await && good(&bench, &bob).await);
    // The old key is taken back: after an hour at most it proves nothing any more.
    issuer.held().keys = vec![issuer.signer.published()];
    issuer.pass(TimeDelta::minutes(61));
    let away = issuer.depart(&bench, "/").await;
    let token = old.sign(&issuer.claims(&away.nonce, "eve", &["root"]));
    assert_eq!(issuer.arrive(&bench, &away, token).await.status, StatusCode::FORBIDDEN);
    let asked = |address: &str| issuer.held().asked[&format!("{ISSUER}{address}")];
    let before = asked("/keys");
    for n in 0..15 {
        let stranger = Signer::new(&format!("stranger {n}"));
        let away = issuer.depart(&bench, "/").await;
        let token = stranger.sign(&issuer.claims(&away.nonce, "eve", &["root"]));
        assert_eq!(issuer.arrive(&bench, &away, token).await.status, StatusCode::FORBIDDEN);
    }
    assert!(asked("/keys") - before <= 6, "{} times", asked("/keys") - before);
    assert!(
        good(&bench, &session(&issuer.sign_in(&bench, "bob", &["oncall"]).await)).await,
        "known keys go on"
    );
    assert_eq!(asked("/.well-known/openid-configuration"), 2, "once an hour");
}

#[tokio::test]
async fn a_provider_that_is_down_or_another_one_signs_nobody_in_and_everybody_goes_on() {
    let issuer = Issuer::new();
    let bench = bench(&issuer).await;
    let ana = session(&issuer.sign_in(&bench, "ana", &["oncall"]).await);
    issuer.pass(TimeDelta::minutes(61));
    let wrongs: [&dyn Fn(); 4] = [
        &|| issuer.held().down = true,
        &|| drop(issuer.held().metadata.insert("issuer".into(), json!("https://evil.example.com"))),
        &|| {
            drop(issuer.held().metadata.insert("token_endpoint".into(), json!("http://id.example.com/token")))
        },
        &|| drop(issuer.held().metadata.insert("jwks_uri".into(), json!(7))),
    ];
    for wrong in wrongs {
        wrong();
        let answer = bench.get("/sign-in/with-provider").await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        let (metadata, down) = (Default::default(), false);
        let mut held = issuer.held();
        (held.metadata, held.down) = (metadata, down);
    }
    assert!(good(&bench, &ana).await);
    assert_eq!(bench.get("/sign-in/with-provider").await.status, StatusCode::SEE_OTHER, "it is back");
}

#[tokio::test]
async fn a_role_that_is_lost_ends_its_sessions_and_its_tokens_at_the_next_word_of_the_provider() {
    let issuer = Issuer::new();
    let bench = bench(&issuer).await;
    let admin = session(&issuer.sign_in(&bench, "ana", &["root"]).await);
    let program = bench.program("ana", wish("ci", Role::Admin)).await;
    let role = async || program.get("/api/v1/session").await.json()["role"].clone();
    assert_eq!(role().await, "admin");
    let responder = session(&issuer.sign_in(&bench, "ana", &["oncall"]).await);
    assert!(!good(&bench, &admin).await && good(&bench, &responder).await);
    assert_eq!(role().await, "responder", "a token may do no more than its person");
    let changed = bench.audited("role changed").await.remove(0).1;
    assert_eq!((&changed["from"], &changed["to"]), (&json!("admin"), &json!("responder")));

    assert_eq!(issuer.sign_in(&bench, "ana", &["web"]).await.status, StatusCode::FORBIDDEN);
    assert!(!good(&bench, &responder).await);
    let refused = program.get("/api/v1/session").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.text.contains("may do nothing here any more"), "{}", refused.text);
    assert_eq!(bench.audited("role changed").await[1].1["to"], Value::Null);
    // Nor does it come back when they break in by a link, which is good for its session alone.
    let by_link = bench.sign_in_as("ana", Role::Viewer).await;
    assert_eq!(by_link.get("/api/v1/session").await.json()["role"], "viewer");
    assert_eq!(program.get("/api/v1/session").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_group_that_the_configuration_no_longer_lists_ends_its_sessions_and_so_does_a_provider_that_is_gone()
 {
    let issuer = Issuer::new();
    let mut bench = bench(&issuer).await;
    let ana = session(&issuer.sign_in(&bench, "ana", &["oncall"]).await);
    let link = bench.sign_in("grace").await.cookie;
    bench.behind(Some(issuer.used(&[("oncall", Role::Responder)])));
    assert!(good(&bench, &ana).await);
    for oidc in
        [Some(issuer.used(&[("oncall", Role::Viewer)])), Some(issuer.used(&[("x", Role::Admin)])), None]
    {
        bench.behind(oidc);
        assert!(!good(&bench, &ana).await);
        assert!(good(&bench, &link).await, "who came by a link goes on");
    }
}

#[tokio::test]
async fn signing_out_ends_the_session_here_and_leads_to_the_providers_own_place_for_it() {
    let issuer = Issuer::new();
    let bench = bench(&issuer).await;
    let (one, two) = (
        session(&issuer.sign_in(&bench, "ana", &["oncall"]).await),
        session(&issuer.sign_in(&bench, "ana", &["oncall"]).await),
    );
    let page = bench.person(&one).await.form("/sign-out", &[]).await;
    assert_eq!(page.status, StatusCode::OK);
    let onward = page.header(HeaderName::from_static("refresh"));
    let there = url::Url::parse(onward.strip_prefix("0;url=").unwrap()).unwrap();
    let asked: std::collections::BTreeMap<_, _> = there.query_pairs().into_owned().collect();
    assert_eq!(there.path(), "/end");
    assert!(asked["id_token_hint"].split('.').count() == 3, "{there}");
    assert_eq!(asked["post_logout_redirect_uri"], "http://localhost:8080/sign-in");
    assert!(!good(&bench, &one).await && good(&bench, &two).await);
    let three = session(&issuer.sign_in(&bench, "ana", &["oncall"]).await);
    let page = bench.person(&two).await.form("/settings/sign-out-everywhere", &[]).await;
    assert!(page.text.contains("id=\"sign-out-there\""), "{}", page.text);
    assert!(!good(&bench, &two).await && !good(&bench, &three).await);
}

#[tokio::test]
async fn a_name_that_changes_hands_brings_no_token_along() {
    let issuer = Issuer::new();
    let bench = bench(&issuer).await;
    let arrives = async |account: &str, name: &str| {
        let away = issuer.depart(&bench, "/").await;
        let mut claims = issuer.claims(&away.nonce, name, &["leads"]);
        claims["sub"] = json!(account);
        issuer.arrive(&bench, &away, issuer.signer.sign(&claims)).await
    };
    let works = async |token: &str| {
        let request =
            Request::get("/api/v1/session").header(header::AUTHORIZATION, format!("Bearer {token}"));
        bench.send(request.body(Body::empty()).unwrap()).await.status == StatusCode::OK
    };
    session(&arrives("one", "ana").await);
    let first = bench.program("ana", wish("first", Role::Approver)).await.token.clone();
    assert!(works(&first).await);
    assert_eq!(arrives("two", "ana").await.status, StatusCode::FORBIDDEN, "it belongs to the first");
    let root = bench.sign_in_as("root", Role::Admin).await;
    let page = root.get("/settings").await.text;
    assert!(page.contains("Ends their sessions, tokens and members of Slack"), "{page}");
    let let_go = root.form("/settings/people/let-go", &[("person", "ana")]).await;
    assert_eq!(let_go.status, StatusCode::SEE_OTHER, "{}", let_go.text);
    session(&arrives("two", "ana").await);
    assert!(!works(&first).await, "it was the first one's");

    let second = bench.program("ana", wish("second", Role::Approver)).await.token.clone();
    assert!(works(&second).await);
    session(&arrives("two", "ana maria").await);
    session(&arrives("three", "ana").await);
    assert!(!works(&second).await, "whoever is renamed has one name");
    let ended: Vec<_> =
        bench.audited("account let go").await.iter().map(|(_, told)| told["tokens"].clone()).collect();
    assert_eq!(ended, [json!(["first"]), json!(["second"])]);
}

/// The provider says, from machine to machine, that a session is over.
async fn post(bench: &Bench, token: &str) -> Answer {
    let body = format!("logout_token={token}");
    let request = Request::post("/sign-in/back-channel")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    bench.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn the_provider_ends_sessions_by_its_word_and_nobody_elses() {
    let issuer = Issuer::new();
    let bench = bench(&issuer).await;
    let (ana, bob) = (
        session(&issuer.sign_in(&bench, "ana", &["oncall"]).await),
        session(&issuer.sign_in(&bench, "bob", &["oncall"]).await),
    );
    let out = json!({
        "iss": ISSUER, "aud": "firebreak", "iat": issuer.now(), "exp": issuer.now() + 120, "jti": "1", "sub": "id of ana",
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    });
    let mut other = out.clone();
    other["aud"] = json!("somebody-else");
    for wrong in [
        Signer::new("one").sign(&out),
        issuer.signer.sign(&other),
        issuer.signer.sign(&issuer.claims("n", "ana", &["oncall"])),
        format!("{}.", unsigned(&json!({ "alg": "none" }), &out)),
        String::new(),
    ] {
        let answer = post(&bench, &wrong).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    }
    assert!(good(&bench, &ana).await);
    assert_eq!(post(&bench, &issuer.signer.sign(&out)).await.status, StatusCode::OK);
    assert!(!good(&bench, &ana).await && good(&bench, &bob).await);
    assert_eq!(bench.audited("signed out by the provider").await[0].0, "ana");
    let mut by_session = out.clone();
    by_session.as_object_mut().unwrap().remove("sub");
    by_session["sid"] = json!("session of bob");
    assert_eq!(post(&bench, &issuer.signer.sign(&by_session)).await.status, StatusCode::OK);
    assert!(!good(&bench, &bob).await);
}

#[tokio::test]
async fn a_name_that_another_account_has_is_not_taken_over() {
    let issuer = Issuer::new();
    let bench = bench(&issuer).await;
    session(&issuer.sign_in(&bench, "ana", &["oncall"]).await);
    let away = issuer.depart(&bench, "/").await;
    let mut claims = issuer.claims(&away.nonce, "ana", &["root"]);
    claims["sub"] = json!("id of somebody else");
    let token = issuer.signer.sign(&claims);
    let answer = issuer.arrive(&bench, &away, token).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(refusals(&bench).await[0].1.contains("another account"));
}

#[tokio::test]
async fn attempts_are_limited_and_another_site_can_post_nothing() {
    let issuer = Issuer::new();
    let mut bench = bench(&issuer).await;
    let mut last = StatusCode::OK;
    for _ in 0..21 {
        last = back(&bench, "", "code=c&state=s").await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refusals(&bench).await.len(), 20, "a flood does not fill the audit");
    assert_eq!(post(&bench, "x").await.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(
        good(&bench, &session(&issuer.sign_in(&bench, "ana", &["oncall"]).await)).await,
        "who is let in is not counted"
    );
    bench.behind(Some(issuer.used(&GROUPS)));
    let root = session(&issuer.sign_in(&bench, "root", &["root"]).await);
    let csrf = bench.person(&root).await.csrf;
    for path in ["/sign-in/back-channel", "/sign-out", "/settings/people/sign-out", "/settings/people/let-go"]
    {
        let request = Request::post(path)
            .header(header::COOKIE, &root)
            .header("sec-fetch-site", "cross-site")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(format!("csrf={csrf}&person=ana")))
            .unwrap();
        assert_eq!(bench.send(request).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert!(good(&bench, &root).await);
}

#[tokio::test]
async fn what_opens_one_door_opens_no_other() {
    let issuer = Issuer::new();
    let bench = bench(&issuer).await;
    let ana = bench.person(&session(&issuer.sign_in(&bench, "ana", &["oncall"]).await)).await;
    let bob = bench.sign_in("bob").await;
    let program = bench.program("ana", wish("ci", Role::Responder)).await;
    // The token of one's forms is of no use to another's session.
    let request = ana
        .request(Method::POST, "/sign-out")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(format!("csrf={}", bob.csrf)))
        .unwrap();
    assert_eq!(bench.send(request).await.status, StatusCode::FORBIDDEN);
    // A token is no cookie, a cookie is no token, and neither is an ID token, or the secret of a sign-in.
    let away = issuer.depart(&bench, "/").await;
    let id_token = issuer.held().id_token.clone();
    let value = |cookie: &str| cookie.split_once('=').unwrap().1.to_owned();
    for text in [program.token.clone(), id_token.clone(), value(&away.cookie)] {
        assert!(!good(&bench, &format!("firebreak={text}")).await, "{text}");
    }
    for text in [value(&ana.cookie), id_token, value(&away.cookie), ana.csrf.clone()] {
        let request = Request::get("/api/v1/session").header(header::AUTHORIZATION, format!("Bearer {text}"));
        let answer = bench.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{text}");
    }
    assert!(good(&bench, &ana.cookie).await);
}
