//! What went wrong with a login, in kinds that lead to different conclusions.
//!
//! Measured with ProxySQL 2.7 and MariaDB: a wrong password is answered by ProxySQL itself with a prefix of its own; a refusal of
//! the cluster comes through without; a hung ProxySQL accepts TCP and stays silent; a paused one refuses the connection;
//! a cluster that cannot be reached shows as 9001 on the first query, after a login that succeeded.

use std::io;

use schemars::JsonSchema;
use serde::Serialize;

/// The kind of a failed login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The port refuses connections: nothing listens, or ProxySQL is paused.
    Refused,
    /// No TCP connection in time: the host is gone or cut off.
    TimeoutConnect,
    /// Connected, and never greeted: the process hangs.
    TimeoutGreeting,
    /// Greeted, and the login was never answered.
    TimeoutLogin,
    /// Logged in, and the query was never answered.
    TimeoutQuery,
    /// ProxySQL itself refused the account (`ProxySQL Error:`).
    AccessDeniedByProxy,
    /// The database refused the account.
    AccessDenied,
    /// No free connection (1040, 1203).
    TooManyConnections,
    /// ProxySQL found no working connection to the cluster in time (9001).
    MaxConnectTimeout,
    /// The server is read-only (1290, 1836): a failover was not followed.
    ReadOnly,
    /// Not through when the time of the look was over.
    NotTried,
    /// Anything else; the message tells.
    Other,
}

impl Kind {
    /// The name, as outputs show it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimeoutConnect => "timeout_connect",
            Self::TimeoutGreeting => "timeout_greeting",
            Self::TimeoutLogin => "timeout_login",
            Self::TimeoutQuery => "timeout_query",
            Self::AccessDeniedByProxy => "access_denied_by_proxy",
            Self::AccessDenied => "access_denied",
            Self::TooManyConnections => "too_many_connections",
            Self::MaxConnectTimeout => "max_connect_timeout",
            Self::ReadOnly => "read_only",
            Self::NotTried => "not_tried",
            Self::Other => "other",
        }
    }

    /// Did it cost a whole deadline, of ours or of ProxySQL's?
    pub(crate) fn is_timeout(self) -> bool {
        matches!(
            self,
            Self::TimeoutConnect
                | Self::TimeoutGreeting
                | Self::TimeoutLogin
                | Self::TimeoutQuery
                | Self::MaxConnectTimeout
        )
    }
}

/// A failed login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Failure {
    /// What kind of failure.
    pub(crate) kind: Kind,
    /// MySQL's error number, when the server sent one.
    pub(crate) code: Option<u16>,
    /// The server's or the network's words.
    pub(crate) message: String,
}

/// `Unknown system variable`: the server is no Aurora.
pub(crate) const UNKNOWN_VARIABLE: u16 = 1193;

impl Failure {
    /// A failure of a kind, without a number.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, code: None, message: message.into() }
    }

    /// An error packet of the server.
    pub(crate) fn server(code: u16, message: String) -> Self {
        let kind = match code {
            1045 | 1698 if message.starts_with("ProxySQL Error:") => Kind::AccessDeniedByProxy,
            1044 | 1045 | 1698 => Kind::AccessDenied,
            1040 | 1203 => Kind::TooManyConnections,
            1290 | 1836 => Kind::ReadOnly,
            9001 => Kind::MaxConnectTimeout,
            _ => Kind::Other,
        };
        Self { kind, code: Some(code), message }
    }

    /// A broken connection.
    pub(crate) fn io(error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => Kind::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Kind::TimeoutConnect
            }
            _ => Kind::Other,
        };
        let message = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
            _ => error.to_string(),
        };
        Self::new(kind, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_kinds() {
        for (code, message, kind) in [
            (1045, "ProxySQL Error: Access denied for user 'app'@'127.0.0.1'", Kind::AccessDeniedByProxy),
            (1045, "Access denied for user 'badback'@'localhost'", Kind::AccessDenied),
            (1040, "Too many connections", Kind::TooManyConnections),
            (9001, "Max connect timeout reached while reaching hostgroup 10", Kind::MaxConnectTimeout),
            (1836, "Running in read-only mode", Kind::ReadOnly),
            (1290, "running with the --read-only option", Kind::ReadOnly),
            (1105, "whatever", Kind::Other),
        ] {
            assert_eq!(Failure::server(code, message.into()).kind, kind, "{code} {message}");
        }
    }

    #[test]
    fn names_are_those_of_the_output() {
        for kind in
            [Kind::TimeoutGreeting, Kind::AccessDeniedByProxy, Kind::Other, Kind::Refused, Kind::NotTried]
        {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
