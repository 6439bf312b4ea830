//! Questions and answers in SQL: all of it, and nothing else.
//!
//! One file per table family, one function per question, the pool passed in. Each write is one statement: it either
//! happened whole or not at all, it needs no `BEGIN` that a cancelled future could leave open (sqlx 0.9 returns such a
//! connection to the pool inside its transaction), and it costs one commit.
//!
//! - [`runs`]: start a run, and read its journal.
//! - [`journal`]: append to many journals at once, fenced by owner and epoch; [`writer`]: the connection that does so.
//! - [`claims`]: take over what dead workers left.
//! - [`workers`]: leases, on the database's clock.
//! - [`gate`]: runs that have not begun: they wait for people, or stand in line for their locks.
//! - [`inbox`]: what people ask of a run.
//! - [`brakes`], [`locks`]: what holds Firebreak back: kill switch, freezes, limits, targets taken by hand.
//! - [`reviews`]: where somebody went on alone, until somebody else has looked at it.
//! - [`calls`], [`audit`]: what was done, only ever added to.
//! - [`seals`], [`proof`]: that nothing of it was changed: made as it is written, checked from what is stored.
//! - [`search`]: who did what to what, and when.
//! - [`pages`]: the read side: lists and one run, for people.
//! - [`census`]: how much of everything there is.
//! - [`history`]: how long past runs took.
//! - [`fleets`]: what the prober saw, and numbers over time.
//! - [`signals`], [`triage`]: what machines say is wrong, and what became of it.
//! - [`incidents`]: what people do together about one trouble.
//! - [`trust`]: how far triggers may go, and the past that tells whether they should.
//! - [`readiness`]: what rehearsals showed.
//! - [`outbox`]: what people elsewhere are to be told, until they have been.
//! - [`slack`]: who is who at Slack, and what it delivered; [`cards`]: the message of each run there.
//! - [`drills`]: what was played for practice, and how it went.
//! - [`people`]: sign-in links and sessions; [`known`]: people as an admin sees them; [`tokens`]: what programs show instead.
//! - [`answered`]: what was answered to requests that may be repeated.
//! - [`schema`]: who brings the tables up to date, and what the application's role may do.
//! - [`private`]: a Postgres of our own, for the demo and for tests.

pub mod answered;
pub mod audit;
pub mod brakes;
pub mod calls;
pub mod cards;
pub mod census;
pub mod claims;
pub mod drills;
mod error;
pub mod fleets;
pub mod gate;
pub mod history;
pub mod inbox;
pub mod incidents;
pub mod journal;
pub mod known;
pub mod listener;
pub mod locks;
pub mod outbox;
pub mod pages;
pub mod people;
mod pool;
pub mod private;
pub mod proof;
mod read;
pub mod readiness;
pub mod retention;
pub mod reviews;
mod rows;
pub mod runs;
pub mod schema;
pub mod seals;
pub mod search;
pub mod signals;
pub mod slack;
pub mod tokens;
pub mod triage;
pub mod trust;
pub mod workers;
pub mod writer;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

pub use error::StoreError;
pub use sqlx::PgPool;

/// The migrations, forward only.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// Longer than any statement of ours takes; a server that is stuck must not hold up what asks it.
const STATEMENT_TIMEOUT: &str = "60s";

/// How long a transaction of several statements may wait for its next one. A process that is frozen, or whose machine is gone, in the
/// middle of one holds its locks until somebody ends it: all others would wait for that, senders of alerts among them.
const PAUSE_IN_TRANSACTION: &str = "10s";
/// No statement of ours is worth compiling: those that Postgres takes for dear are so by estimate only, as the claim of runs was
/// seen to be.
const COMPILER: &str = "off";

/// Connects, and sees to it that the schema is there: see [`schema`].
pub async fn connect(url: &str) -> Result<PgPool, StoreError> {
    let pool = open(url).await?;
    schema::ready(&pool).await?;
    Ok(pool)
}

/// Which database it is, for people: its name and where it is, and nothing that is secret.
pub fn place(pool: &PgPool) -> String {
    let options = pool.connect_options();
    let name = options.get_database().unwrap_or_else(|| options.get_username());
    format!("{name} at {}", address(&options))
}

/// Host and port, or the folder of the socket.
fn address(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

/// One connection, or why there is none.
async fn connection(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let unreachable = |why| StoreError::Unreachable { place: address(options), why };
    PgConnection::connect_with(options).await.map_err(unreachable)
}

/// Where `url` leads.
fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    url.parse().map_err(|e| StoreError::Url(format!("{e}")))
}

/// Connects, whatever the schema is.
pub async fn open(url: &str) -> Result<PgPool, StoreError> {
    let options = options(url)?.application_name("firebreak");
    // A pool would only say that it waited in vain; one connection says why. A migration may take its time.
    connection(&options).await?.close().await?;
    let settings = [
        ("statement_timeout", STATEMENT_TIMEOUT),
        ("idle_in_transaction_session_timeout", PAUSE_IN_TRANSACTION),
        ("jit", COMPILER),
    ];
    Ok(pool::options().connect_with(options.options(settings)).await?)
}
