//! One MySQL connection: handshake, then command after command.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::admin;
use super::auth::{self, Claim};
use super::packet::{Encoding, SqlError, Table, Wire};
use super::query::{self, Statement};
use crate::physics::{Persona, Physics, Reply, bits};
use crate::shared::Shared;

const AURORA_VERSION: &str = "8.0.28";
const PROXYSQL_VERSION: &str = "8.0.30";
/// ProxySQL's `mysql-connect_timeout_server_max`.
const BACKEND_TIMEOUT_MS: u64 = 10_000;

/// Serves a connection to its end.
pub(super) async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    persona: Persona,
) -> io::Result<()> {
    let mut wire = Wire::new(stream);
    let proxy = matches!(persona, Persona::Proxy { .. } | Persona::Admin { .. });
    let version = if proxy { PROXYSQL_VERSION } else { AURORA_VERSION };
    let number = u32::from(peer.port());
    let chance = bits(shared.seed, "salt", u64::from(number) ^ shared.clock.now().timestamp_micros() as u64);
    let Some(claim) = auth::handshake(&mut wire, version, number, chance).await? else { return Ok(()) };
    let cluster = match shared.world(|w| admit(w, persona, &claim)) {
        Some(cluster) => cluster,
        None => {
            let by = if proxy { "ProxySQL Error: " } else { "" };
            return wire.error(&denied(by, &claim.user, peer, claim.with_password())).await;
        }
    };
    wire.ok().await?;
    let session = Session { shared, persona, cluster, user: claim.user, peer, version };
    session.commands(wire).await
}

/// Whether the login succeeds; for a user of a cluster, which one (0 for the admin).
fn admit(world: &Physics, persona: Persona, claim: &Claim) -> Option<usize> {
    if let Persona::Admin { host } = persona {
        let fleet = &world.world.fleets[world.hosts[host].fleet];
        let known = claim.user == fleet.admin_user && claim.knows(&fleet.admin_password);
        return known.then_some(0);
    }
    let (cluster, password) = world.user(&claim.user)?;
    let right_place = match persona {
        // ProxySQL authenticates by itself; what Aurora thinks of the user shows with the first query.
        Persona::Proxy { .. } | Persona::Admin { .. } => true,
        Persona::Writer { cluster: c }
        | Persona::Reader { cluster: c }
        | Persona::Instance { cluster: c, .. } => c == cluster && !world.clusters[c].refuses_logins,
    };
    (right_place && claim.knows(password)).then_some(cluster)
}

fn denied(by: &str, user: &str, peer: SocketAddr, with_password: &str) -> SqlError {
    let message =
        format!("{by}Access denied for user '{user}'@'{}' (using password: {with_password})", peer.ip());
    SqlError::new(1045, "28000", message)
}

struct Session {
    shared: Arc<Shared>,
    persona: Persona,
    cluster: usize,
    user: String,
    peer: SocketAddr,
    version: &'static str,
}

impl Session {
    async fn commands(self, mut wire: Wire) -> io::Result<()> {
        // Statements by id; ids count from 1.
        let mut prepared: Vec<String> = Vec::new();
        while let Some(packet) = wire.read().await? {
            let (command, rest) = packet.split_first().map_or((0, &[][..]), |(c, r)| (*c, r));
            let text = || String::from_utf8_lossy(rest).into_owned();
            match command {
                0x01 => return Ok(()),
                // COM_INIT_DB, COM_PING, COM_RESET_CONNECTION: ProxySQL, too, answers these by itself.
                0x02 | 0x0e | 0x1f => wire.ok().await?,
                0x03 => {
                    let Some(answer) = self.run(&text()).await else { return Ok(()) };
                    send(&mut wire, answer, Encoding::Text).await?;
                }
                // COM_STMT_PREPARE, _EXECUTE, _CLOSE
                0x16 if !matches!(self.persona, Persona::Admin { .. }) => {
                    let sql = text();
                    match query::parse(&sql).and_then(|s| shape(&s)) {
                        Ok(table) => {
                            prepared.push(sql);
                            wire.prepared(prepared.len() as u32, &table).await?;
                        }
                        Err(error) => wire.error(&error).await?,
                    }
                }
                0x17 => {
                    let id = rest.get(..4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                    match prepared.get((id as usize).wrapping_sub(1)) {
                        Some(sql) => {
                            let Some(answer) = self.run(sql).await else { return Ok(()) };
                            send(&mut wire, answer, Encoding::Binary).await?;
                        }
                        None => {
                            let message =
                                format!("Unknown prepared statement handler ({id}) given to EXECUTE");
                            wire.error(&SqlError::new(1243, "HY000", message)).await?;
                        }
                    }
                }
                0x19 => {}
                _ if matches!(self.persona, Persona::Admin { .. }) => {
                    wire.error(&SqlError::new(1045, "28000", "Command not supported")).await?;
                }
                _ => wire.error(&SqlError::new(1047, "08S01", "Unknown command")).await?,
            }
        }
        Ok(())
    }

    /// `None`: the connection ends without an answer.
    async fn run(&self, sql: &str) -> Option<admin::Answer> {
        match self.persona {
            Persona::Admin { host } => admin::run(&self.shared, host, &self.user, sql).await,
            _ => Some(self.query(sql).await),
        }
    }

    async fn query(&self, sql: &str) -> admin::Answer {
        let statement = query::parse(sql)?;
        let proxy = matches!(self.persona, Persona::Proxy { .. });
        let reply = if proxy && statement.local_to_proxy() {
            Reply::Answered { server_id: String::new(), read_only: false }
        } else {
            self.shared.world(|w| reply(w, self.persona, self.cluster))
        };
        let (server_id, read_only) = match reply {
            Reply::Answered { server_id, read_only } => (server_id, read_only),
            Reply::AccessDenied => return Err(denied("", &self.user, self.peer, "YES")),
            Reply::TooManyConnections => {
                return Err(SqlError::new(1040, "08004", "Too many connections"));
            }
            Reply::NoBackend { hostgroup } => {
                self.shared.clock.sleep(Duration::from_millis(BACKEND_TIMEOUT_MS)).await;
                let message = format!(
                    "Max connect timeout reached while reaching hostgroup {hostgroup} after {BACKEND_TIMEOUT_MS}ms"
                );
                return Err(SqlError::new(9001, "HY000", message));
            }
        };
        match statement {
            Statement::Session => Ok(None),
            Statement::HostStatus(columns) => {
                Ok(Some(self.shared.world(|w| query::host_status(&columns, w.clusters.get(self.cluster)))))
            }
            Statement::Select(list) => {
                query::answer(&list, &server_id, read_only, &self.user, self.version).map(Some)
            }
        }
    }
}

/// What becomes of a query on this address.
fn reply(world: &mut Physics, persona: Persona, cluster: usize) -> Reply {
    match persona {
        Persona::Proxy { host } => world.proxy_query(host, cluster),
        // The admin interface has no database behind it.
        Persona::Admin { .. } => Reply::AccessDenied,
        Persona::Writer { cluster } => world.direct_query(cluster, world.clusters[cluster].writer),
        Persona::Reader { cluster } => {
            let c = &world.clusters[cluster];
            let reader = (0..c.members.len()).find(|&m| m != c.writer && c.up(m)).unwrap_or(c.writer);
            world.direct_query(cluster, reader)
        }
        Persona::Instance { cluster, member } => world.direct_query(cluster, member),
    }
}

/// The columns that a statement will have, for COM_STMT_PREPARE.
fn shape(statement: &Statement) -> Result<Table, SqlError> {
    match statement {
        Statement::Session => Ok(Table::default()),
        Statement::HostStatus(columns) => Ok(query::host_status(columns, None)),
        Statement::Select(list) => query::answer(list, "", false, "", ""),
    }
}

async fn send(wire: &mut Wire, answer: admin::Answer, encoding: Encoding) -> io::Result<()> {
    match answer {
        Ok(Some(table)) => wire.table(&table, encoding).await,
        Ok(None) => wire.ok().await,
        Err(error) => wire.error(&error).await,
    }
}
