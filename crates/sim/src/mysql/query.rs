//! The little SQL that login probes and drivers send: `SELECT` of variables and constants, and the
//! session statements that a driver issues when it connects.

use super::packet::{SqlError, Table, Value};
use crate::physics::AuroraCluster;

/// A statement, as far as it is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    /// `SET`, `USE`, `BEGIN`, ...: nothing to say but OK.
    Session,
    /// A `SELECT` of these expressions, each with its column name.
    Select(Vec<(Expression, String)>),
    /// These columns of `information_schema.replica_host_status`.
    HostStatus(Vec<HostColumn>),
}

/// A column of `information_schema.replica_host_status`, as far as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostColumn {
    ServerId,
    /// `MASTER_SESSION_ID` of the writer.
    SessionId,
    LagMs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Variable(String),
    Number(i64),
    Text(String),
    CurrentUser,
    Database,
    Version,
}

impl Statement {
    /// ProxySQL answers these by itself, without a backend.
    pub(super) fn local_to_proxy(&self) -> bool {
        match self {
            Self::Session => true,
            Self::HostStatus(_) => false,
            Self::Select(list) => {
                matches!(&list[..], [(Expression::Variable(v), _)] if v == "version_comment")
            }
        }
    }
}

/// Reads a statement.
pub(super) fn parse(sql: &str) -> Result<Statement, SqlError> {
    let sql = sql.trim().trim_end_matches(';').trim();
    let (verb, rest) = sql.split_once(char::is_whitespace).unwrap_or((sql, ""));
    match verb.to_ascii_lowercase().as_str() {
        "set" | "use" | "begin" | "start" | "commit" | "rollback" => Ok(Statement::Session),
        "select" => {
            let lower = rest.to_ascii_lowercase();
            if let Some((columns, "information_schema.replica_host_status")) = lower.split_once(" from ") {
                let columns: Option<Vec<_>> = columns.split(',').map(host_column).collect();
                return columns.map(Statement::HostStatus).ok_or_else(|| syntax_error(rest));
            }
            // Without a table there is nothing to lock, nor to limit.
            let list = lower.strip_suffix(" for update").map_or(rest, |list| &rest[..list.len()]);
            let list = lower.rfind(" limit ").map_or(list, |at| &rest[..at]);
            let items: Option<Vec<_>> = list.split(',').map(|item| expression(item.trim())).collect();
            items.map(Statement::Select).ok_or_else(|| syntax_error(rest))
        }
        _ => Err(syntax_error(sql)),
    }
}

fn syntax_error(near: &str) -> SqlError {
    let message = format!(
        "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server \
         version for the right syntax to use near '{near}' at line 1"
    );
    SqlError::new(1064, "42000", message)
}

fn host_column(name: &str) -> Option<HostColumn> {
    Some(match name.trim() {
        "server_id" => HostColumn::ServerId,
        "session_id" => HostColumn::SessionId,
        "replica_lag_in_milliseconds" => HostColumn::LagMs,
        _ => return None,
    })
}

impl HostColumn {
    fn name(self) -> &'static str {
        match self {
            Self::ServerId => "SERVER_ID",
            Self::SessionId => "SESSION_ID",
            Self::LagMs => "REPLICA_LAG_IN_MILLISECONDS",
        }
    }
}

/// The instances of a cluster that are up, with how far each is behind; any of them answers for all.
pub(super) fn host_status(columns: &[HostColumn], cluster: Option<&AuroraCluster>) -> Table {
    let members = cluster
        .into_iter()
        .flat_map(|c| (0..c.members.len()).filter(|m| c.up(*m)).map(move |m| (m == c.writer, &c.members[m])));
    let rows = members.map(|(writer, member)| {
        let value = |column: &HostColumn| match column {
            HostColumn::ServerId => Value::Text(member.id.clone()),
            HostColumn::SessionId if writer => Value::Text("MASTER_SESSION_ID".into()),
            HostColumn::SessionId => Value::Text(format!("session-of-{}", member.id)),
            HostColumn::LagMs => Value::Text(if writer { 0.0 } else { member.lag_ms }.to_string()),
        };
        columns.iter().map(value).collect()
    });
    Table { columns: columns.iter().map(|c| c.name().to_owned()).collect(), rows: rows.collect() }
}

fn expression(item: &str) -> Option<(Expression, String)> {
    let mut words = item.split_whitespace();
    let text = words.next()?;
    let name = match (words.next(), words.next(), words.next()) {
        (None, ..) => text.to_owned(),
        (Some(alias), None, _) => unquoted(alias),
        (Some(r#as), Some(alias), None) if r#as.eq_ignore_ascii_case("as") => unquoted(alias),
        _ => return None,
    };
    let lower = text.to_ascii_lowercase();
    let expression = if let Some(variable) = lower.strip_prefix("@@") {
        let plain = ["global.", "session."].iter().find_map(|scope| variable.strip_prefix(scope));
        Expression::Variable(plain.unwrap_or(variable).to_owned())
    } else if let Ok(number) = text.parse() {
        Expression::Number(number)
    } else if let Some(quoted) = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
        Expression::Text(quoted.to_owned())
    } else {
        match lower.as_str() {
            "user()" | "current_user()" => Expression::CurrentUser,
            "database()" | "schema()" => Expression::Database,
            "version()" => Expression::Version,
            _ => return None,
        }
    };
    Some((expression, name))
}

fn unquoted(alias: &str) -> String {
    alias.trim_matches(['`', '\'', '"']).to_owned()
}

/// Answers a `SELECT` as the instance `server_id` would.
pub(super) fn answer(
    list: &[(Expression, String)],
    server_id: &str,
    read_only: bool,
    user: &str,
    version: &str,
) -> Result<Table, SqlError> {
    let value = |expression: &Expression| {
        Ok(match expression {
            Expression::Number(n) => Value::Int(*n),
            Expression::Text(t) => Value::Text(t.clone()),
            Expression::CurrentUser => Value::Text(format!("{user}@%")),
            Expression::Database => Value::Text(String::new()),
            Expression::Version => Value::Text(version.to_owned()),
            Expression::Variable(name) => match name.as_str() {
                "aurora_server_id" | "hostname" => Value::Text(server_id.to_owned()),
                "innodb_read_only" | "read_only" => Value::Int(i64::from(read_only)),
                "version" => Value::Text(version.to_owned()),
                "aurora_version" => Value::Text("3.04.2".into()),
                "version_comment" => Value::Text("Source distribution".into()),
                "max_allowed_packet" => Value::Int(67_108_864),
                "wait_timeout" | "interactive_timeout" => Value::Int(28_800),
                "autocommit" => Value::Int(1),
                "sql_mode" => Value::Text("NO_ENGINE_SUBSTITUTION".into()),
                "socket" => Value::Text("/tmp/mysql.sock".into()),
                "time_zone" | "system_time_zone" => Value::Text("UTC".into()),
                "transaction_isolation" | "tx_isolation" => Value::Text("REPEATABLE-READ".into()),
                unknown => {
                    let message = format!("Unknown system variable '{unknown}'");
                    return Err(SqlError::new(1193, "HY000", message));
                }
            },
        })
    };
    let row: Result<Vec<Value>, SqlError> = list.iter().map(|(e, _)| value(e)).collect();
    Ok(Table { columns: list.iter().map(|(_, name)| name.clone()).collect(), rows: vec![row?] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(sql: &str) -> Table {
        let Ok(Statement::Select(list)) = parse(sql) else { panic!("{sql} is no SELECT") };
        answer(&list, "shard-b-1", false, "probe", "8.0.28").expect(sql)
    }

    #[test]
    fn the_probe_query_in_its_variants() {
        for sql in [
            "SELECT @@aurora_server_id, @@innodb_read_only",
            "select @@aurora_server_id as server_id,@@innodb_read_only AS `read_only`;",
            "SELECT @@global.aurora_server_id, @@GLOBAL.innodb_read_only LIMIT 1",
            "SELECT @@aurora_server_id, @@innodb_read_only FOR UPDATE",
        ] {
            assert_eq!(select(sql).rows, vec![vec![Value::Text("shard-b-1".into()), Value::Int(0)]], "{sql}");
        }
        assert_eq!(select("select @@innodb_read_only as ro").columns, ["ro"]);
        assert_eq!(select("SELECT 1").columns, ["1"]);
    }

    #[test]
    fn what_is_not_understood_is_a_syntax_error() {
        for sql in ["", "DROP TABLE x", "SELECT * FROM t", "SELECT"] {
            assert_eq!(parse(sql).expect_err(sql).code, 1064, "{sql}");
        }
    }
}
