//! What a token of the provider must say before it is believed, once its signature is proven (OpenID Connect Core 3.1.3.7,
//! Back-Channel Logout 2.6).
//!
//! Clocks differ a little, and no more than the configuration says: a token that was made in the future, or is used after its time,
//! is refused with how far it is off, because a wrong clock is the usual reason.

use chrono::{DateTime, TimeDelta};
use serde_json::{Map, Value};

use crate::Timestamp;

/// A token that is fetched with a fresh code was made just now; an older one comes from somewhere else.
const FRESH: TimeDelta = TimeDelta::minutes(10);
/// Longer than any name of a person or an account.
const LONGEST: usize = 255;
/// So many groups of somebody are read.
const GROUPS: usize = 1000;
/// The event that makes a token one of signing out.
const SIGN_OUT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What a token must agree with.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Who makes tokens.
    pub issuer: &'a str,
    /// For whom: our name there.
    pub client: &'a str,
    /// How far clocks may differ.
    pub skew: TimeDelta,
}

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It has no such claim, or not in this form.
    #[error("the token has no `{0}` that could be read")]
    Missing(&'static str),
    /// Another provider's.
    #[error("the token is of another issuer: {0}")]
    Issuer(String),
    /// For somebody else.
    #[error("the token is not for us: its audience is {0}")]
    Audience(String),
    /// Given to somebody else.
    #[error("the token was made for another client: {0}")]
    Party(String),
    /// Its time is over.
    #[error("the token expired {0} s ago, by our clock; are the clocks of both right?")]
    Expired(i64),
    /// Its time has not come.
    #[error("the token is of a time {0} s ahead of our clock; are the clocks of both right?")]
    Early(i64),
    /// Not made for this.
    #[error("the token was made {0} s ago, and not for this sign-in")]
    Old(i64),
    /// Not the one that was asked for.
    #[error("the token does not belong to this sign-in: its nonce is another one")]
    Nonce,
    /// A token of another kind.
    #[error("the token is no token of signing out")]
    NoSignOut,
    /// Claims about somebody else.
    #[error("the provider tells about somebody else than its token does")]
    OtherAccount,
    /// Nobody can be called that.
    #[error("the claim `{0}` names nobody: it takes 1 to 100 characters, and none that cannot be seen")]
    Name(String),
    /// An address that may be anybody's.
    #[error("the provider has not verified the address {0}")]
    NotVerified(String),
    /// Groups that were left out.
    #[error(
        "the provider left the groups out because there are too many; let it send only those that are assigned here"
    )]
    TooManyGroups,
}

/// Somebody, as the provider knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Their unchanging id there.
    pub subject: String,
    /// The session there, if it says so.
    pub session: Option<String>,
    /// How they are called here.
    pub name: String,
    /// Their groups.
    pub groups: Vec<String>,
}

/// Which claims say what somebody is called, and their groups.
#[derive(Debug, Clone, Copy)]
pub struct NamedBy<'a> {
    /// The claim of the name.
    pub name: &'a str,
    /// The claim of the groups; a dot goes into an object (`realm_access.roles`).
    pub groups: &'a str,
}

/// Is this ID token for us, for now, and for this very sign-in?
pub fn id_token(
    claims: &Map<String, Value>,
    expected: Expected<'_>,
    nonce: &str,
    now: Timestamp,
) -> Result<(), Unfit> {
    for_us(claims, expected)?;
    let made = in_time(claims, expected, now)?;
    if let Some(ago) = beyond(now, made, FRESH + expected.skew) {
        return Err(Unfit::Old(ago));
    }
    if text(claims, "nonce") != Some(nonce) {
        return Err(Unfit::Nonce);
    }
    subject(claims).map(|_| ())
}

/// Is this token one that ends sessions, for us and for now? Whose (the subject, the session there).
pub fn logout_token(
    claims: &Map<String, Value>,
    expected: Expected<'_>,
    now: Timestamp,
) -> Result<(Option<String>, Option<String>), Unfit> {
    for_us(claims, expected)?;
    let made = in_time(claims, expected, now)?;
    if let Some(ago) = beyond(now, made, FRESH + expected.skew) {
        return Err(Unfit::Old(ago));
    }
    let event = claims.get("events").and_then(|events| events.get(SIGN_OUT));
    // A nonce is forbidden here, so that no ID token is ever taken for one of signing out.
    if event.is_none_or(|event| !event.is_object()) || claims.contains_key("nonce") {
        return Err(Unfit::NoSignOut);
    }
    let (subject, session) = (subject(claims).ok(), text(claims, "sid").map(str::to_owned));
    match (&subject, &session) {
        (None, None) => Err(Unfit::Missing("sub")),
        _ => Ok((subject, session)),
    }
}

fn for_us(claims: &Map<String, Value>, expected: Expected<'_>) -> Result<(), Unfit> {
    let issuer = text(claims, "iss").ok_or(Unfit::Missing("iss"))?;
    if issuer != expected.issuer {
        return Err(Unfit::Issuer(shown(issuer)));
    }
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => return Err(Unfit::Missing("aud")),
    };
    if !audience.contains(&expected.client) {
        return Err(Unfit::Audience(shown(&audience.join(", "))));
    }
    match claims.get("azp") {
        Some(Value::String(party)) if party == expected.client => Ok(()),
        Some(party) => Err(Unfit::Party(shown(party.as_str().unwrap_or("?")))),
        // Good for others, too: then it must say that it was given to us.
        None if audience.len() > 1 => Err(Unfit::Missing("azp")),
        None => Ok(()),
    }
}

/// When it was made, if its time is now.
fn in_time(claims: &Map<String, Value>, expected: Expected<'_>, now: Timestamp) -> Result<Timestamp, Unfit> {
    let made = time(claims, "iat")?.ok_or(Unfit::Missing("iat"))?;
    // A token of signing out may have none; then it ends with its freshness.
    let ends = match time(claims, "exp")? {
        Some(ends) => ends,
        None if claims.contains_key("events") => made + FRESH,
        None => return Err(Unfit::Missing("exp")),
    };
    if now >= ends + expected.skew {
        return Err(Unfit::Expired((now - ends).num_seconds()));
    }
    for begins in [Some(made), time(claims, "nbf")?].into_iter().flatten() {
        if let Some(ahead) = beyond(begins, now, expected.skew) {
            return Err(Unfit::Early(ahead));
        }
    }
    Ok(made)
}

/// So many seconds lie between two times, if it is too long.
fn beyond(later: Timestamp, earlier: Timestamp, most: TimeDelta) -> Option<i64> {
    (later - earlier > most).then(|| (later - earlier).num_seconds())
}

/// A time, in seconds since 1970, whole or not.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, Unfit> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_i64().or_else(|| {
        let seconds = value.as_f64().filter(|s| s.abs() < 1e11)?;
        Some(seconds.floor() as i64)
    });
    // Far from any calendar's end, so that nothing is added beyond it.
    let seconds = seconds.filter(|s| (0..100_000_000_000).contains(s)).ok_or(Unfit::Missing(name))?;
    DateTime::from_timestamp(seconds, 0).map(Some).ok_or(Unfit::Missing(name))
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

fn subject(claims: &Map<String, Value>) -> Result<String, Unfit> {
    let subject = text(claims, "sub").filter(|sub| (1..=LONGEST).contains(&sub.len()) && plain(sub));
    subject.map(str::to_owned).ok_or(Unfit::Missing("sub"))
}

/// Are both about the same account? The answer to a question with an access token proves nothing by itself.
pub fn same_account(token: &Map<String, Value>, told: &Map<String, Value>) -> Result<(), Unfit> {
    match (text(token, "sub"), text(told, "sub")) {
        (Some(one), Some(other)) if one == other => Ok(()),
        _ => Err(Unfit::OtherAccount),
    }
}

/// Does it say something about a claim?
pub fn said<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    said(claims.get(first)?.as_object()?, rest)
}

/// Who it is, in which groups.
pub fn account(claims: &Map<String, Value>, by: NamedBy<'_>) -> Result<Account, Unfit> {
    let name = said(claims, by.name).and_then(Value::as_str).map(str::trim);
    let sound = |name: &&str| (1..=100).contains(&name.len()) && plain(name);
    let name = name.filter(sound).ok_or_else(|| Unfit::Name(by.name.to_owned()))?;
    if by.name == "email" && claims.get("email_verified").is_some_and(|said| said == false || said == "false")
    {
        return Err(Unfit::NotVerified(name.to_owned()));
    }
    let groups = match said(claims, by.groups) {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => {
            many.iter().filter_map(Value::as_str).take(GROUPS).map(str::to_owned).collect()
        }
        _ if claims.get("_claim_names").is_some_and(|names| names.get(by.groups).is_some()) => {
            return Err(Unfit::TooManyGroups);
        }
        _ => Vec::new(),
    };
    let session = text(claims, "sid").filter(|sid| sid.len() <= LONGEST).map(str::to_owned);
    Ok(Account { subject: subject(claims)?, session, name: name.to_owned(), groups })
}

/// Nothing in it that cannot be seen, or turns what follows around.
fn plain(text: &str) -> bool {
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    !text.chars().any(hides)
}

fn shown(text: &str) -> String {
    let visible: String = text.chars().filter(|c| !c.is_control()).take(100).collect();
    if visible.is_empty() { "nobody".into() } else { visible }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_715_090_400;

    fn expected() -> Expected<'static> {
        Expected { issuer: "https://id.example.com", client: "firebreak", skew: TimeDelta::seconds(60) }
    }

    fn good() -> Value {
        json!({ "iss": "https://id.example.com", "aud": "firebreak", "sub": "1", "nonce": "n", "iat": NOW - 1, "exp": NOW + 300 })
    }

    fn checked(change: &Value) -> Result<(), Unfit> {
        let mut claims = good();
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        id_token(claims.as_object().unwrap(), expected(), "n", DateTime::from_timestamp(NOW, 0).unwrap())
    }

    #[test]
    fn a_token_for_us_now_and_this_sign_in_is_good() {
        for fine in [
            json!({}),
            json!({ "aud": ["firebreak"] }),
            json!({ "aud": ["firebreak", "other"], "azp": "firebreak" }),
            json!({ "nbf": NOW, "iat": NOW as f64 - 0.5 }),
        ] {
            assert_eq!(checked(&fine), Ok(()), "{fine}");
        }
    }

    #[test]
    fn each_thing_that_is_wrong_has_its_reason() {
        for (wrong, why) in [
            (json!({ "iss": "https://evil.example.com" }), Unfit::Issuer("https://evil.example.com".into())),
            (json!({ "iss": "https://id.example.com/" }), Unfit::Issuer("https://id.example.com/".into())),
            (json!({ "iss": null }), Unfit::Missing("iss")),
            (json!({ "aud": "other" }), Unfit::Audience("other".into())),
            (json!({ "aud": [] }), Unfit::Audience("nobody".into())),
            (json!({ "aud": null }), Unfit::Missing("aud")),
            (json!({ "aud": ["firebreak", "other"] }), Unfit::Missing("azp")),
            (json!({ "azp": "other" }), Unfit::Party("other".into())),
            (json!({ "azp": 7 }), Unfit::Party("?".into())),
            (json!({ "nonce": "other" }), Unfit::Nonce),
            (json!({ "nonce": null }), Unfit::Nonce),
            (json!({ "exp": null }), Unfit::Missing("exp")),
            (json!({ "exp": "tomorrow" }), Unfit::Missing("exp")),
            (json!({ "exp": 1e300 }), Unfit::Missing("exp")),
            (json!({ "iat": null }), Unfit::Missing("iat")),
            (json!({ "sub": "" }), Unfit::Missing("sub")),
            (json!({ "iat": NOW - 661 }), Unfit::Old(661)),
        ] {
            assert_eq!(checked(&wrong), Err(why), "{wrong}");
        }
    }

    #[test]
    fn clocks_may_differ_by_the_skew_and_no_more() {
        assert_eq!(checked(&json!({ "exp": NOW - 59 })), Ok(()));
        assert_eq!(checked(&json!({ "exp": NOW - 60 })), Err(Unfit::Expired(60)));
        assert_eq!(checked(&json!({ "iat": NOW + 60 })), Ok(()));
        assert_eq!(checked(&json!({ "iat": NOW + 61 })), Err(Unfit::Early(61)));
        assert_eq!(checked(&json!({ "nbf": NOW + 61 })), Err(Unfit::Early(61)));
    }

    #[test]
    fn only_a_token_of_signing_out_signs_out() {
        let now = DateTime::from_timestamp(NOW, 0).unwrap();
        let out = |claims: Value| logout_token(claims.as_object().unwrap(), expected(), now);
        let base = json!({ "iss": "https://id.example.com", "aud": "firebreak", "iat": NOW, "events": { SIGN_OUT: {} } });
        let with = |more: Value| {
            let mut claims = base.clone();
            claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            claims
        };
        assert_eq!(out(with(json!({ "sub": "1" }))), Ok((Some("1".into()), None)));
        assert_eq!(out(with(json!({ "sid": "s" }))), Ok((None, Some("s".into()))));
        assert_eq!(out(base.clone()), Err(Unfit::Missing("sub")));
        assert_eq!(out(good()), Err(Unfit::NoSignOut));
        assert_eq!(out(with(json!({ "sub": "1", "nonce": "n" }))), Err(Unfit::NoSignOut));
        assert_eq!(out(with(json!({ "sub": "1", "iat": NOW - 700, "exp": NOW + 9 }))), Err(Unfit::Old(700)));
    }

    #[test]
    fn names_and_groups_are_read_from_the_claims_that_are_named() {
        let read =
            |claims: Value, name, groups| account(claims.as_object().unwrap(), NamedBy { name, groups });
        let keycloak = json!({ "sub": "1", "sid": "s", "preferred_username": " ana ", "realm_access": { "roles": ["a", 7, "b"] } });
        let ana = read(keycloak, "preferred_username", "realm_access.roles").unwrap();
        assert_eq!(
            (ana.name.as_str(), ana.groups, ana.session),
            ("ana", vec!["a".into(), "b".into()], Some("s".into()))
        );
        let plain = json!({ "sub": "1", "email": "ana@example.com", "https://example.com/groups": "one" });
        assert_eq!(read(plain, "email", "https://example.com/groups").unwrap().groups, ["one"]);
        let unsure = json!({ "sub": "1", "email": "ana@example.com", "email_verified": false });
        assert_eq!(read(unsure, "email", "groups"), Err(Unfit::NotVerified("ana@example.com".into())));
        for hidden in ["", "  ", "ana\u{202e}", "a\nna"] {
            let claims = json!({ "sub": "1", "name": hidden });
            let read = read(claims, "name", "groups");
            assert_eq!(read, Err(Unfit::Name("name".into())), "{hidden:?}");
        }
        let many = json!({ "sub": "1", "name": "ana", "_claim_names": { "groups": "src1" } });
        assert_eq!(read(many, "name", "groups"), Err(Unfit::TooManyGroups));
    }
}
