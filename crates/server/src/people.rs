//! What an admin sees and ends of others: sessions, tokens, the account behind a name.

use axum::http::StatusCode;
use domain::identity::{NotTheirs, governs};
use domain::token::Deed;
use store::known::{self, Known};

use crate::app::App;
use crate::error::{Problem, not_allowed, out_of_scope, sentence};
use crate::session::{SESSION_IDLE, Visitor};

/// What is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Sessions,
    Tokens,
    /// The account at the provider, and all that speaks by the name: the next one of that name is them.
    Account,
}

impl From<NotTheirs> for Problem {
    fn from(error: NotTheirs) -> Self {
        not_allowed(sentence(&error.to_string()))
    }
}

/// The people that somebody may see: all, for an admin, and else themselves.
pub(crate) async fn list(app: &App, visitor: &Visitor) -> Result<Vec<Known>, Problem> {
    let all = governs(&visitor.actor()).is_ok();
    let person = Some(visitor.person.as_str()).filter(|_| !all);
    Ok(known::list(app.people(), person, SESSION_IDLE).await?)
}

/// Ends something of somebody's. How much there was.
pub(crate) async fn end(app: &App, visitor: &Visitor, person: &str, what: End) -> Result<i64, Problem> {
    let (by, now) = (visitor.actor(), app.now());
    governs(&by)?;
    by.within_scope(Deed::Other).map_err(|e| out_of_scope(sentence(&e.to_string())))?;
    if known::list(app.people(), Some(person), SESSION_IDLE).await?.is_empty() {
        return Err(Problem::new(StatusCode::CONFLICT, "not_there", "Nobody of that name is known here.")
            .remedy("Names are written as the list has them.")
            .link("People", "/settings#people"));
    }
    Ok(match what {
        End::Sessions => known::sign_out(app.people(), person, &by, now).await?,
        End::Tokens => {
            let names = known::revoke_tokens(app.people(), person, &by, now).await?;
            i64::try_from(names.len()).unwrap_or(i64::MAX)
        }
        End::Account => i64::from(known::unbind(app.people(), person, &by, now).await?),
    })
}
