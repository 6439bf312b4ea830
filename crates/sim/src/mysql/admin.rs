//! ProxySQL's admin interface: PAUSE, RESUME, RESTART, and the tables that tell how a host is doing.
//!
//! Commands have the fault dials and traps of the AWS API, looks the dials (as `SELECT`). What a caller meets is what a ProxySQL can do:
//!
//! | Dial | Here |
//! |---|---|
//! | throttle | error 1040, too many connections; nothing done |
//! | refused | the syntax error that an account gets which may only look; nothing done |
//! | internal error | an error of the admin module; nothing done |
//! | unavailable | the connection is closed without an answer; nothing done |
//! | latency, time-outs | as of the API |
//!
//! A pause and a restart are what the source of ProxySQL 2.0 to 3.0 makes of them. A second PAUSE is refused, and a RESUME without one. A
//! RESTART is never answered: the process drops every connection, begins anew within itself with its port open, and keeps two things: its
//! uptime, and that it calls itself paused (`mysql_listener_paused`), so that a PAUSE is refused until somebody sends a RESUME.
//!
//! Text protocol only, every value a string, and a syntax error for everything else, as seen on a real
//! ProxySQL 2.7. `WHERE` understands one equality, the column list is ignored.

use std::sync::Arc;
use std::time::Duration;

use super::packet::{SqlError, Table, Value};
use crate::fault::ApiTrouble;
use crate::hold::{Lost, Phase};
use crate::ledger::LedgerEntry;
use crate::physics::dials::PROXYSQL;
use crate::physics::{Effect, Physics};
use crate::shared::Shared;

const RESTART: &str = "PROXYSQL RESTART";

/// An answer: a table, or OK.
pub(super) type Answer = Result<Option<Table>, SqlError>;

/// A dial that hits one statement.
enum Met {
    /// It is answered like this, and nothing is done.
    Answered(u16, SqlError),
    /// The host hangs up, and nothing is done.
    HangsUp,
    /// Nothing is done, and no answer ever comes.
    Unheard,
    /// It is done, and the answer never comes.
    Unanswered,
}

/// Runs one statement on a host's admin interface. `None`: the host hangs up.
pub(super) async fn run(shared: &Arc<Shared>, host: usize, user: &str, sql: &str) -> Option<Answer> {
    let words: Vec<String> = sql.trim().trim_end_matches(';').split_whitespace().map(str::to_owned).collect();
    let upper: Vec<String> = words.iter().map(|w| w.to_ascii_uppercase()).collect();
    match upper.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["PROXYSQL", "PAUSE"] => change(shared, host, user, "PROXYSQL PAUSE", |w| w.pause(host, true)).await,
        ["PROXYSQL", "RESUME"] => {
            change(shared, host, user, "PROXYSQL RESUME", |w| w.pause(host, false)).await
        }
        ["PROXYSQL", "RESTART"] => {
            // It ends the very connection that it came by, and must not end with it.
            let (shared, user) = (shared.clone(), user.to_owned());
            let work = async move { change(&shared, host, &user, RESTART, |w| Ok(w.restart(host))).await };
            tokio::spawn(work).await.ok().flatten()
        }
        ["SET", ..] => Some(Ok(None)),
        ["SELECT", ..] => match meet(shared, "SELECT", "SELECT").await {
            Some(Met::Answered(_, error)) => Some(Err(error)),
            Some(Met::HangsUp) => None,
            Some(Met::Unheard | Met::Unanswered) => std::future::pending().await,
            None => Some(select(shared, host, &words, &upper).map(Some)),
        },
        _ => Some(Err(syntax_error(words.first().map_or("", String::as_str)))),
    }
}

/// What a dial does to this statement, after any delay.
async fn meet(shared: &Arc<Shared>, operation: &str, near: &str) -> Option<Met> {
    let answered =
        |status, code, state, message: &str| Some(Met::Answered(status, SqlError::new(code, state, message)));
    match shared.world(|w| w.dials.meet(PROXYSQL, operation))? {
        ApiTrouble::Throttle => answered(429, 1040, "08004", "Too many connections"),
        ApiTrouble::Refused => Some(Met::Answered(403, syntax_error(near))),
        ApiTrouble::InternalError => answered(500, 1045, "28000", "ProxySQL Admin Error: disk I/O error"),
        ApiTrouble::Unavailable => Some(Met::HangsUp),
        ApiTrouble::Latency { seconds } => {
            shared.clock.sleep(Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0))).await;
            None
        }
        ApiTrouble::TimeoutBefore => Some(Met::Unheard),
        ApiTrouble::TimeoutAfter => Some(Met::Unanswered),
    }
}

/// The error that ProxySQL 2.7 gives for anything that its SQLite does not understand.
pub(super) fn syntax_error(near: &str) -> SqlError {
    SqlError::new(1045, "28000", format!("ProxySQL Admin Error: near \"{near}\": syntax error"))
}

async fn change(
    shared: &Arc<Shared>,
    host: usize,
    user: &str,
    operation: &str,
    effect: impl FnOnce(&mut Physics) -> Result<Effect, &'static str>,
) -> Option<Answer> {
    let address = shared.world(|w| w.hosts[host].address.clone());
    let mut entry = LedgerEntry {
        n: 0,
        at: shared.clock.now(),
        service: PROXYSQL.into(),
        operation: operation.into(),
        caller: user.into(),
        params: [("host".to_owned(), address)].into(),
        mutating: true,
        effect: None,
        request_id: shared.request_id(),
        status: 200,
    };
    let met = meet(shared, operation, "PROXYSQL").await;
    match met {
        Some(Met::Answered(status, error)) => {
            shared.enter(LedgerEntry { status, ..entry });
            return Some(Err(error));
        }
        Some(Met::HangsUp) => {
            shared.enter(LedgerEntry { status: 503, ..entry });
            return None;
        }
        Some(Met::Unheard) => {
            shared.enter(LedgerEntry { status: 0, ..entry });
            return std::future::pending().await;
        }
        Some(Met::Unanswered) | None => {}
    }
    if let Err(Lost) = shared.holds.pass(Phase::BeforeEffect, &entry).await {
        return std::future::pending().await;
    }
    let unanswered = met.is_some();
    let (entry, impossible) = shared.world(|w| {
        let impossible = match effect(w) {
            Ok(effect) => {
                entry.effect = effect;
                None
            }
            Err(impossible) => Some(impossible),
        };
        entry.status = if unanswered { 0 } else { impossible.map_or(200, |_| 400) };
        (shared.enter(entry), impossible)
    });
    // The socket must be closed (or open again) before the caller hears of it.
    if let Err((address, error)) = shared.listeners.settle(shared).await {
        return Some(Err(SqlError::new(1045, "28000", format!("ProxySQL Admin Error: {address}: {error}"))));
    }
    let lost = shared.holds.pass(Phase::AfterEffect, &entry).await;
    if unanswered || lost == Err(Lost) {
        return std::future::pending().await;
    }
    match impossible {
        Some(why) => Some(Err(SqlError::new(1045, "28000", format!("ProxySQL Admin Error: {why}")))),
        None => (operation != RESTART).then_some(Ok(None)),
    }
}

fn select(shared: &Arc<Shared>, host: usize, words: &[String], upper: &[String]) -> Result<Table, SqlError> {
    let Some(from) = upper.iter().position(|w| w == "FROM") else {
        return constant(shared, host, &words[1..].join(" "));
    };
    let name = words.get(from + 1).map(|t| t.to_ascii_lowercase()).unwrap_or_default();
    let name = name.rsplit('.').next().unwrap_or_default();
    let mut table = match name {
        "stats_mysql_global" => shared.world(|w| stats_mysql_global(w, host)),
        "stats_mysql_connection_pool" => shared.world(|w| stats_mysql_connection_pool(w, host)),
        "runtime_mysql_servers" => shared.world(|w| runtime_mysql_servers(w, host)),
        unknown => {
            let message = format!("ProxySQL Admin Error: no such table: {unknown}");
            return Err(SqlError::new(1045, "28000", message));
        }
    };
    if let Some(at) = upper.iter().position(|w| w == "WHERE") {
        let (column, value) = equality(&words[at + 1..].join(" "))?;
        let known = table.columns.iter().position(|c| c.eq_ignore_ascii_case(&column));
        let Some(n) = known else {
            let message = format!("ProxySQL Admin Error: no such column: {column}");
            return Err(SqlError::new(1045, "28000", message));
        };
        table.rows.retain(|row| row.get(n) == Some(&Value::Text(value.clone())));
    }
    narrowed(table, &words[1..from].join(" "))
}

/// A `SELECT` without a table. ProxySQL turns `@@name` into a look-up of one variable of that name, which
/// may find nothing; a list of them ends in a syntax error.
fn constant(shared: &Arc<Shared>, host: usize, expression: &str) -> Result<Table, SqlError> {
    let one = |rows| Ok(Table { columns: vec![expression.to_owned()], rows });
    match expression.strip_prefix("@@") {
        Some(list) if list.contains(',') => Err(syntax_error(",")),
        Some(name) if name.to_ascii_lowercase().starts_with("version_comment") => {
            one(vec![vec![Value::Text("(ProxySQL Admin Module)".into())]])
        }
        Some(name) => {
            let named = |row: &&Vec<Value>| matches!(&row[0], Value::Text(n) if n.eq_ignore_ascii_case(name));
            let global = shared.world(|w| stats_mysql_global(w, host));
            one(global.rows.iter().filter(named).map(|row| vec![row[1].clone()]).collect())
        }
        None if expression.parse::<i64>().is_ok() => one(vec![vec![Value::Text(expression.to_owned())]]),
        None => Err(syntax_error(expression.split_whitespace().next().unwrap_or_default())),
    }
}

/// `column = 'value'`.
fn equality(condition: &str) -> Result<(String, String), SqlError> {
    let (column, value) = condition.split_once('=').ok_or_else(|| syntax_error(condition))?;
    let value = value.trim().trim_matches(['\'', '"']);
    if value.contains(char::is_whitespace) {
        return Err(syntax_error(value));
    }
    Ok((column.trim().to_owned(), value.to_owned()))
}

/// Only the columns asked for, in that order.
fn narrowed(table: Table, list: &str) -> Result<Table, SqlError> {
    if list == "*" {
        return Ok(table);
    }
    let mut chosen = Vec::new();
    for column in list.split(',').map(str::trim) {
        let found = table.columns.iter().position(|c| c.eq_ignore_ascii_case(column));
        chosen.push(found.ok_or_else(|| {
            SqlError::new(1045, "28000", format!("ProxySQL Admin Error: no such column: {column}"))
        })?);
    }
    let pick = |row: &Vec<Value>| chosen.iter().map(|&n| row[n].clone()).collect();
    Ok(Table {
        columns: chosen.iter().map(|&n| table.columns[n].clone()).collect(),
        rows: table.rows.iter().map(pick).collect(),
    })
}

fn texts(columns: &[&str], rows: Vec<Vec<String>>) -> Table {
    Table {
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        rows: rows.into_iter().map(|row| row.into_iter().map(Value::Text).collect()).collect(),
    }
}

fn stats_mysql_global(world: &Physics, host: usize) -> Table {
    let h = &world.hosts[host];
    let backends: u64 = world.backend_connections(host).iter().map(|(_, n)| u64::from(*n)).sum();
    let questions: f64 = h.pools.iter().map(|p| p.queries).sum();
    let aborted: f64 = h.pools.iter().map(|p| p.err).sum();
    let uptime = h.began.map_or(0, |at| (world.now() - at).num_seconds().max(0));
    let rows = [
        ("ProxySQL_Uptime", uptime as u64),
        ("Active_Transactions", (h.clients * 0.02) as u64),
        ("Client_Connections_aborted", 0),
        ("Client_Connections_connected", h.clients.round() as u64),
        ("Server_Connections_aborted", aborted as u64),
        ("Server_Connections_connected", backends),
        ("Questions", questions as u64),
        ("mysql_listener_paused", u64::from(h.calls_itself_paused)),
    ];
    let rows = rows.into_iter().map(|(name, n)| vec![name.to_owned(), n.to_string()]).collect();
    texts(&["Variable_Name", "Variable_Value"], rows)
}

fn stats_mysql_connection_pool(world: &Physics, host: usize) -> Table {
    let columns = [
        "hostgroup",
        "srv_host",
        "srv_port",
        "status",
        "ConnUsed",
        "ConnFree",
        "ConnOK",
        "ConnERR",
        "MaxConnUsed",
        "Queries",
        "Queries_GTID_sync",
        "Bytes_data_sent",
        "Bytes_data_recv",
        "Latency_us",
    ];
    let row = |(cluster, limit): (usize, u32)| {
        let pool = world.hosts[host].pools[cluster];
        let used = limit / 10;
        let numbers = [
            u64::from(used),
            u64::from(limit - used),
            pool.ok as u64,
            pool.err as u64,
            u64::from(limit),
            pool.queries as u64,
            0,
            (pool.queries * 180.0) as u64,
            (pool.queries * 900.0) as u64,
            420,
        ];
        let mut row = vec![
            Physics::hostgroup(cluster).to_string(),
            world.clusters[cluster].endpoint.clone(),
            "3306".to_owned(),
            // Failing logins never shun a server: ProxySQL calls it ONLINE whatever happens.
            if world.clusters[cluster].down() { "SHUNNED" } else { "ONLINE" }.to_owned(),
        ];
        row.extend(numbers.iter().map(u64::to_string));
        row
    };
    texts(&columns, world.backend_connections(host).into_iter().map(row).collect())
}

fn runtime_mysql_servers(world: &Physics, host: usize) -> Table {
    let columns = [
        "hostgroup_id",
        "hostname",
        "port",
        "gtid_port",
        "status",
        "weight",
        "compression",
        "max_connections",
        "max_replication_lag",
        "use_ssl",
        "max_latency_ms",
        "comment",
    ];
    let row = |(cluster, limit): (usize, u32)| {
        let c = &world.clusters[cluster];
        let status = if c.down() { "SHUNNED" } else { "ONLINE" };
        let hostgroup = Physics::hostgroup(cluster).to_string();
        let (limit, endpoint) = (limit.to_string(), c.endpoint.as_str());
        let row = [&hostgroup, endpoint, "3306", "0", status, "1", "0", &limit, "0", "0", "0", &c.id];
        row.map(str::to_owned).to_vec()
    };
    texts(&columns, world.backend_connections(host).into_iter().map(row).collect())
}
