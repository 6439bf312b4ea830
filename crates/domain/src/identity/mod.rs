//! Who somebody is and what they may do, by what an identity provider (OpenID Connect) says of them.
//!
//! ```text
//!  token, its signature proven (`server::oidc`) ─▶ is it for us, for now, for this sign-in? (`claims`) ─▶ who, in which groups ─▶ role
//! ```
//!
//! Groups become a role by the configuration alone. Of several the greatest counts; who has none gets in only where the configuration
//! names a role for everybody.
//!
//! Deliberately absent: signatures (`server`), and asking (`actions`); [`Question`] and [`Reply`] are what passes between them.

mod claims;

use std::collections::BTreeMap;
use std::str::FromStr;

pub use claims::{Account, Expected, NamedBy, Unfit, account, id_token, logout_token, said, same_account};

use crate::{Actor, Role};

/// Which groups make whom what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// The role that a group gives.
    pub groups: BTreeMap<String, Role>,
    /// The role of everybody whom the provider knows; nobody's when absent.
    pub everybody: Option<Role>,
}

impl Grants {
    /// What somebody in these groups may do; nothing at all, when there is none.
    pub fn role(&self, groups: &[String]) -> Option<Role> {
        groups.iter().filter_map(|group| self.groups.get(group)).copied().chain(self.everybody).max()
    }
}

/// What has signed somebody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A link that works once.
    Link,
    /// A header of a trusted proxy.
    Proxy,
    /// An identity provider.
    Provider,
}

impl By {
    /// As the database and the audit write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Proxy => "proxy",
            Self::Provider => "provider",
        }
    }
}

/// A word that names none of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` signs nobody in")]
pub struct NoSuchBy(String);

impl FromStr for By {
    type Err = NoSuchBy;

    fn from_str(word: &str) -> Result<Self, NoSuchBy> {
        let all = [Self::Link, Self::Proxy, Self::Provider];
        all.into_iter().find(|by| by.word() == word).ok_or_else(|| NoSuchBy(word.to_owned()))
    }
}

/// Something to be asked of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Where.
    pub address: String,
    /// What is sent (POST); nothing is, when absent (GET).
    pub form: Option<Vec<(String, String)>>,
    /// The header `Authorization`.
    pub authorization: Option<String>,
}

impl Question {
    /// A mere look.
    pub fn get(address: impl Into<String>) -> Self {
        Self { address: address.into(), form: None, authorization: None }
    }
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Its header `Date`: what time it is there.
    pub date: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// To see and end what others have open takes an admin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("to see what others have open, or end it, takes {}, and you are {}", Role::Admin.one(), .0.one())]
pub struct NotTheirs(pub Role);

/// May they see and end what others have open: sessions, tokens, accounts?
pub fn governs(by: &Actor) -> Result<(), NotTheirs> {
    (by.role() >= Role::Admin).then_some(()).ok_or(NotTheirs(by.role()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_of_the_roles_counts_and_no_group_is_no_role() {
        let mut grants = Grants {
            groups: [("oncall".to_owned(), Role::Responder), ("leads".to_owned(), Role::Approver)].into(),
            everybody: None,
        };
        let role = |grants: &Grants, groups: &[&str]| {
            grants.role(&groups.iter().map(|&g| g.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(role(&grants, &["leads", "oncall"]), Some(Role::Approver));
        assert_eq!(role(&grants, &["web", "Leads"]), None, "a name is a name, to the letter");
        assert_eq!(role(&grants, &[]), None);
        grants.everybody = Some(Role::Viewer);
        assert_eq!(role(&grants, &[]), Some(Role::Viewer));
        assert_eq!(role(&grants, &["oncall"]), Some(Role::Responder));
    }
}
