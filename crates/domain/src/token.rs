//! Tokens: what a program shows instead of signing in.
//!
//! A token speaks for the person who made it, with a role that is at most theirs, for a time, and perhaps for less than all of
//! that: only to look, or only on some runbooks. What it may do is asked in the engine, at the same doors as roles.
//!
//! Deliberately absent: the secret. Only its hash is ever kept, and that is the server's business.

use serde::{Deserialize, Serialize};

use crate::{Actor, Role};

/// How many days a token is good for, unless something else is asked for.
pub const DAYS: u32 = 90;
/// How many at most.
pub const DAYS_AT_MOST: u32 = 365;
/// So many runbooks can be listed.
const LISTED: usize = 50;

/// What a token is good for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// It only looks; plans count as looking.
    #[serde(default)]
    pub read_only: bool,
    /// It starts and steers runs of these alone, and changes nothing else; anything its role allows when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbooks: Option<Vec<String>>,
}

/// Something that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed<'a> {
    /// Starts or steers a run of this runbook.
    Run(&'a str),
    /// Everything else: brakes, locks, reviews, tokens.
    Other,
}

/// A token was used for what it is not good for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token `{token}` {why}")]
pub struct OutOfScope {
    /// Its name.
    pub token: String,
    /// What it is good for.
    pub why: String,
}

impl Scope {
    /// Is it good for this?
    pub fn lets(&self, token: &str, deed: Deed<'_>) -> Result<(), OutOfScope> {
        let no = |why: String| Err(OutOfScope { token: token.to_owned(), why });
        match (&self.runbooks, deed) {
            _ if self.read_only => no("only looks".into()),
            (None, _) => Ok(()),
            (Some(runbooks), Deed::Run(name)) if runbooks.iter().any(|known| known == name) => Ok(()),
            (Some(runbooks), _) => no(format!("is good for runs of {} alone", runbooks.join(", "))),
        }
    }

    /// In words.
    pub fn told(&self) -> String {
        match &self.runbooks {
            _ if self.read_only => "only looks".into(),
            None => "all that its role may".into(),
            Some(runbooks) => format!("runs of {}", runbooks.join(", ")),
        }
    }
}

/// A token that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its name, by which it is found again.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// What it is good for.
    pub scope: Scope,
    /// For how many days.
    pub days: u32,
}

/// Why there will be no such token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWish {
    /// A program would hand its power on.
    #[error("a token makes no token; sign in and make it yourself")]
    ByToken,
    /// More than its maker may.
    #[error("the token would be {}, and you are {}", wished.one(), is.one())]
    Role {
        /// As wished.
        wished: Role,
        /// Theirs.
        is: Role,
    },
    /// A name that nobody could find again.
    #[error("a token's name has 1 to 60 letters, digits, `-`, `_` and `.`; `{0}` is none")]
    Name(String),
    /// A time that is too short or too long.
    #[error("a token is good for 1 to {DAYS_AT_MOST} days, not for {0}")]
    Days(u32),
    /// A list that lets nothing through, or names what cannot be.
    #[error("a list of runbooks has 1 to {LISTED} names; {0}")]
    Runbooks(String),
}

impl Wish {
    /// May this person have it?
    pub fn check(&self, by: &Actor) -> Result<(), BadWish> {
        if by.token().is_some() {
            return Err(BadWish::ByToken);
        }
        if self.role > by.role() {
            return Err(BadWish::Role { wished: self.role, is: by.role() });
        }
        if !is_word(&self.name) {
            return Err(BadWish::Name(self.name.clone()));
        }
        if !(1..=DAYS_AT_MOST).contains(&self.days) {
            return Err(BadWish::Days(self.days));
        }
        match &self.scope.runbooks {
            None => Ok(()),
            Some(names) if names.is_empty() => Err(BadWish::Runbooks("this one is empty".into())),
            Some(names) if names.len() > LISTED => {
                Err(BadWish::Runbooks(format!("these are {}", names.len())))
            }
            Some(names) => match names.iter().find(|name| !is_word(name)) {
                Some(name) => Err(BadWish::Runbooks(format!("`{name}` is none"))),
                None => Ok(()),
            },
        }
    }
}

/// Whose tokens somebody sees and revokes: their own; an admin everybody's (none).
pub fn reach(by: &Actor) -> Option<&str> {
    (by.role() < Role::Admin).then(|| by.name())
}

fn is_word(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=60).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        Wish { name: "ci".into(), role: Role::Responder, scope: Scope::default(), days: DAYS }
    }

    #[test]
    fn a_scope_lets_through_what_it_names_and_nothing_else() {
        let all = Scope::default();
        assert_eq!((all.lets("t", Deed::Run("a")), all.lets("t", Deed::Other)), (Ok(()), Ok(())));
        let some = Scope { runbooks: Some(vec!["a".into()]), ..Scope::default() };
        assert_eq!(some.lets("t", Deed::Run("a")), Ok(()));
        let refused = some.lets("t", Deed::Run("b")).unwrap_err().to_string();
        assert_eq!(refused, "the token `t` is good for runs of a alone");
        assert!(some.lets("t", Deed::Other).is_err());
        let look = Scope { read_only: true, runbooks: Some(vec!["a".into()]) };
        assert_eq!(look.lets("t", Deed::Run("a")).unwrap_err().to_string(), "the token `t` only looks");
    }

    #[test]
    fn nobody_makes_a_token_that_may_more_than_they_do() {
        let ada = Actor::with_role("ada", Role::Responder);
        assert_eq!(wish().check(&ada), Ok(()));
        for role in [Role::Approver, Role::Admin] {
            assert_eq!(
                Wish { role, ..wish() }.check(&ada),
                Err(BadWish::Role { wished: role, is: Role::Responder })
            );
        }
        let token = Actor::by_token("ada", Role::Admin, "t", Scope::default());
        assert_eq!(wish().check(&token), Err(BadWish::ByToken));
    }

    #[test]
    fn a_wish_that_makes_no_sense_is_refused() {
        let ada = Actor::with_role("ada", Role::Admin);
        for days in [0, 366, u32::MAX] {
            assert_eq!(Wish { days, ..wish() }.check(&ada), Err(BadWish::Days(days)));
        }
        for name in ["", "two words", &"x".repeat(61), "ünder"] {
            assert_eq!(Wish { name: name.into(), ..wish() }.check(&ada), Err(BadWish::Name(name.into())));
        }
        for names in [vec![], vec!["x".to_owned(); 51], vec!["a b".to_owned()]] {
            let scope = Scope { runbooks: Some(names), ..Scope::default() };
            assert!(matches!(Wish { scope, ..wish() }.check(&ada), Err(BadWish::Runbooks(_))));
        }
    }

    #[test]
    fn a_token_is_written_down_without_its_scope_and_told_with_its_person() {
        let scope = Scope { read_only: true, runbooks: None };
        let actor = Actor::by_token("ana", Role::Responder, "ci", scope);
        assert_eq!((actor.to_string().as_str(), actor.name()), ("token ci of ana", "ana"));
        let written = serde_json::to_string(&actor).unwrap();
        assert_eq!(written, r#"{"type":"person","name":"ana","role":"responder","token":{"name":"ci"}}"#);
        let read: Actor = serde_json::from_str(&written).unwrap();
        assert_eq!(read.token().map(|via| via.name.as_str()), Some("ci"));
        // What was written before there were tokens.
        let old: Actor =
            serde_json::from_str(r#"{"type":"person","name":"ana","role":"responder"}"#).unwrap();
        assert_eq!(old, Actor::with_role("ana", Role::Responder));
    }
}
