//! What can go wrong with a question.

use std::sync::Arc;

/// A question that was not answered.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused, or could not be reached. Its words are told here, and by no source again.
    #[error("database: {}", said(.0))]
    Database(sqlx::Error),
    /// No connection to begin with.
    #[error(
        "cannot connect to Postgres at {place}: {}; is it up, and are DATABASE_URL's user and database right?",
        said(why)
    )]
    Unreachable {
        /// Host and port, or folder of the socket.
        place: String,
        /// Why not.
        why: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The schema lacks something, and this user may not bring it.
    #[error(
        "the database lacks migrations {missing:?}, and {user} may not apply them; run `firebreak migrate` as the owner of the tables"
    )]
    Behind {
        /// The numbers of the migrations.
        missing: Vec<i64>,
        /// Who is connected.
        user: String,
    },
    /// Only the owner of the tables may change the schema.
    #[error("{user} may not change the schema; run `firebreak migrate` as the owner of the tables")]
    NotOwner {
        /// Who is connected.
        user: String,
    },
    /// The order of writes would begin anew.
    #[error(
        "the database was restored from a dump, so that new rows would look older than sealed ones; run `firebreak migrate` as the owner of the tables"
    )]
    Restored,
    /// What was read could not be handed on.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
    /// The address is no Postgres URL.
    #[error("not a Postgres URL ({0}); write postgres://user:password@host:5432/database")]
    Url(String),
    /// Not answered, but it will be if asked again.
    #[error("{0}; ask again")]
    Again(&'static str),
    /// It happened to a statement that several shared.
    #[error(transparent)]
    Shared(#[from] Arc<StoreError>),
    /// A stored row does not say what it must.
    #[error("the stored {what} of {key} cannot be read: {why}")]
    Corrupt {
        /// Which kind of row.
        what: &'static str,
        /// Which one.
        key: String,
        /// Why.
        why: String,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// What the database said, without where in its own source code it did.
fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(said) => said.message().to_owned(),
        other => other.to_string(),
    }
}

impl StoreError {
    /// Did the database understand the question, and refuse it? Asking again in the same words will not help. Everything
    /// else (no connection, a server that starts, stops or may not write, a lost answer) may pass.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(e)) => e.code().is_none_or(|code| {
                // 08 connection, 25006 read-only (a standby), 40 rolled back, 53 resources, 55 in use, 57 stopping, 58 system
                code != "25006"
                    && !["08", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class))
            }),
            Self::Corrupt { .. } => true,
            Self::Shared(error) => error.is_final(),
            _ => false,
        }
    }

    /// Did it wait in a circle, so that Postgres took back all that it did?
    pub(crate) fn is_deadlock(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(e)) if e.code().as_deref() == Some("40P01"))
    }

    /// Was it told something that it cannot keep: a character or a time that it does not have?
    pub fn is_unfit(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(e)) => {
                // 22 data: 22021 and 22P05 a character, 22008 a time, 22003 a number
                e.code().is_some_and(|code| ["22021", "22P05", "22008", "22003"].contains(&&*code))
            }
            Self::Shared(error) => error.is_unfit(),
            _ => false,
        }
    }

    /// Is it about the database as a whole, not about what was asked?
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Database(_) | Self::Unreachable { .. } | Self::Again(_) => true,
            Self::Shared(error) => error.is_unavailable(),
            _ => false,
        }
    }

    pub(crate) fn corrupt(what: &'static str, key: impl ToString, why: impl ToString) -> Self {
        Self::Corrupt { what, key: key.to_string(), why: why.to_string() }
    }
}
