//! One MySQL connection by hand, over `mysql_common`'s packets.
//!
//! ```text
//!  connect ─▶ greeting ─▶ login (auth switch, challenge) ─▶ text queries ─▶ quit
//!   each arrow with its own deadline; whatever fails or is dropped closes the socket
//! ```
//!
//! By hand, because a probe must tell apart what a client library folds into one error (a silent greeting from a slow
//! connect), must send nothing but its one query (ProxySQL's admin port refuses what libraries ask at connect), and must
//! bear ProxySQL's error packets that carry a wrong sequence number. Text protocol only: it is all that the admin port
//! speaks. Not here: TLS, compression, prepared statements, and passwords in clear text, which no server is ever sent.

use std::io;
use std::time::Duration;

use mysql_common::auth::plugins::{AuthProc, ChallengeResponsePlugin, Context, Response};
use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse};
use mysql_common::proto::MySerialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Account, Failure, Kind};
use crate::ProbeLimits;
use crate::secrets::Secret;

/// No answer that is read here is longer; a longer one is not MySQL.
const LONGEST_PACKET: usize = 1 << 20;
/// No answer that is read here has more rows.
const MOST_ROWS: usize = 10_000;

const COM_QUIT: u8 = 0x01;
const COM_QUERY: u8 = 0x03;

/// A row of a text result; `None` is NULL.
pub(crate) type Row = Vec<Option<String>>;

/// A connection that is logged in.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Sequence number of the next packet that we send.
    next: u8,
    query_limit: Duration,
}

/// Does the port take connections? A refusal or a time-out is the failure.
pub(crate) async fn knock(host: &str, port: u16, limit: Duration) -> Result<(), Failure> {
    connect(host, port, limit).await.map(drop)
}

async fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpStream, Failure> {
    let stream = timeout(limit, TcpStream::connect((host, port)))
        .await
        .map_err(|_| {
            Failure::new(Kind::TimeoutConnect, format!("no connection within {:.1} s", limit.as_secs_f64()))
        })?
        .map_err(|e| Failure::io(&e))?;
    // Without it a 40 ms pause can sit between two small packets.
    stream.set_nodelay(true).map_err(|e| Failure::io(&e))?;
    Ok(stream)
}

impl Connection {
    /// Connects, waits for the greeting and logs in.
    pub(crate) async fn open(
        host: &str,
        port: u16,
        account: Account<'_>,
        limits: &ProbeLimits,
    ) -> Result<Self, Failure> {
        let stream = connect(host, port, limits.connect).await?;
        let mut connection = Self { stream, next: 0, query_limit: limits.query };
        let greeting =
            within(limits.connect, Kind::TimeoutGreeting, "no greeting", connection.read()).await?;
        within(
            limits.login,
            Kind::TimeoutLogin,
            "no answer to the login",
            connection.login(&greeting, account),
        )
        .await?;
        Ok(connection)
    }

    /// Sends one statement as text and reads its rows; an OK without rows gives none.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<Row>, Failure> {
        within(self.query_limit, Kind::TimeoutQuery, "no answer to the query", self.ask(sql)).await
    }

    /// Says goodbye; the socket is closed in any case.
    pub(crate) async fn quit(mut self) {
        self.next = 0;
        // The server closes without an answer, and a probe's result does not depend on it.
        let _ = timeout(Duration::from_millis(200), async {
            self.write(&[COM_QUIT]).await?;
            self.stream.shutdown().await.map_err(|e| Failure::io(&e))
        })
        .await;
    }

    async fn login(&mut self, greeting: &[u8], account: Account<'_>) -> Result<(), Failure> {
        refuse_error(greeting)?;
        let greeting: HandshakePacket<'_> = ParseBuf(greeting).parse(()).map_err(not_mysql)?;
        let mut secret = Login { password: account.password, nonce: greeting.nonce() };
        // A plugin that we do not speak (a socket's, Kerberos): answer for the usual one, the server switches.
        let offered = greeting.auth_plugin().filter(spoken).unwrap_or(AuthPlugin::MysqlNativePassword);
        let mut plugin = start(&offered)?;
        let first = step(&mut plugin, &secret, &secret.nonce)?.unwrap_or_default();
        let wanted = CapabilityFlags::CLIENT_PROTOCOL_41
            | CapabilityFlags::CLIENT_LONG_PASSWORD
            | CapabilityFlags::CLIENT_TRANSACTIONS
            | CapabilityFlags::CLIENT_SECURE_CONNECTION
            | CapabilityFlags::CLIENT_PLUGIN_AUTH;
        let response = HandshakeResponse::new(
            Some(first),
            (8, 0, 0),
            Some(account.user.as_bytes()),
            None::<Vec<u8>>,
            Some(offered),
            greeting.capabilities() & wanted,
            None,
            u32::try_from(LONGEST_PACKET).unwrap_or(u32::MAX),
        );
        let mut packet = Vec::new();
        response.serialize(&mut packet);
        self.write(&packet).await?;
        loop {
            let packet = self.read().await?;
            refuse_error(&packet)?;
            let answer = match packet.split_first() {
                Some((0x00, _)) => return Ok(()),
                Some((0x01, challenge)) => step(&mut plugin, &secret, challenge)?,
                Some((0xfe, [_, ..])) => {
                    let switch: AuthSwitchRequest<'_> = ParseBuf(&packet).parse(()).map_err(not_mysql)?;
                    plugin = start(&switch.auth_plugin())?;
                    secret.nonce = switch.plugin_data().to_vec();
                    Some(step(&mut plugin, &secret, &secret.nonce)?.unwrap_or_default())
                }
                _ => return Err(Failure::new(Kind::Other, "the login was answered with an unknown packet")),
            };
            if let Some(answer) = answer {
                self.write(&answer).await?;
            }
        }
    }

    async fn ask(&mut self, sql: &str) -> Result<Vec<Row>, Failure> {
        self.next = 0;
        let mut packet = vec![COM_QUERY];
        packet.extend_from_slice(sql.as_bytes());
        self.write(&packet).await?;
        let head = self.read().await?;
        refuse_error(&head)?;
        if head.first() == Some(&0x00) {
            return Ok(Vec::new());
        }
        let columns = ParseBuf(&head).checked_eat_lenenc_int().ok_or_else(cut_off)?;
        let columns = usize::try_from(columns).map_err(|_| cut_off())?;
        for _ in 0..columns {
            self.read().await?;
        }
        self.read().await?; // EOF after the column definitions
        let mut rows = Vec::new();
        loop {
            let packet = self.read().await?;
            refuse_error(&packet)?;
            // A row may begin with 0xfe, too, but then it is longer than 16 MB.
            if packet.first() == Some(&0xfe) && packet.len() < 9 {
                return Ok(rows);
            }
            if rows.len() == MOST_ROWS {
                return Err(Failure::new(Kind::Other, format!("more than {MOST_ROWS} rows")));
            }
            rows.push(row(&packet, columns)?);
        }
    }

    async fn read(&mut self) -> Result<Vec<u8>, Failure> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).await.map_err(|e| Failure::io(&e))?;
        let [a, b, c, sequence] = header;
        let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        if length > LONGEST_PACKET {
            return Err(Failure::new(
                Kind::Other,
                format!("a packet of {length} bytes: this is not a MySQL server"),
            ));
        }
        let mut packet = vec![0; length];
        self.stream.read_exact(&mut packet).await.map_err(|e| Failure::io(&e))?;
        self.next = sequence.wrapping_add(1);
        Ok(packet)
    }

    async fn write(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let length = u32::try_from(payload.len())
            .map_err(|_| Failure::new(Kind::Other, "a packet too long to send"))?;
        let mut packet = Vec::with_capacity(payload.len() + 4);
        packet.extend_from_slice(&length.to_le_bytes()[..3]);
        packet.push(self.next);
        packet.extend_from_slice(payload);
        self.next = self.next.wrapping_add(1);
        self.stream.write_all(&packet).await.map_err(|e| Failure::io(&e))
    }
}

/// What the authentication plugins ask for.
struct Login<'a> {
    password: &'a Secret,
    nonce: Vec<u8>,
}

impl Context for &Login<'_> {
    fn pass(&self) -> &[u8] {
        self.password.expose().as_bytes()
    }

    fn is_ipc_transport(&self) -> bool {
        false
    }

    fn is_tls_transport(&self) -> bool {
        false
    }

    fn scramble(&self) -> &[u8] {
        &self.nonce
    }

    fn server_key_pem(&self) -> Option<&[u8]> {
        None
    }
}

/// The plugins that never send a password in clear text.
fn spoken(plugin: &AuthPlugin<'_>) -> bool {
    matches!(plugin, AuthPlugin::MysqlNativePassword | AuthPlugin::CachingSha2Password)
}

fn start(plugin: &AuthPlugin<'_>) -> Result<AuthProc, Failure> {
    let unknown = || {
        let name = String::from_utf8_lossy(plugin.as_bytes()).into_owned();
        Failure::new(
            Kind::Other,
            format!(
                "the account uses the authentication plugin `{name}`; give it mysql_native_password or caching_sha2_password"
            ),
        )
    };
    if !spoken(plugin) {
        return Err(unknown());
    }
    AuthProc::init(plugin).map_err(|_| unknown())
}

fn step(plugin: &mut AuthProc, login: &Login<'_>, challenge: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    match plugin.run(login, challenge) {
        Ok(Response::Next { packet } | Response::Last { packet }) => Ok(packet),
        Err(e) => Err(Failure::new(Kind::Other, format!("the login went wrong: {e}"))),
    }
}

async fn within<T>(
    limit: Duration,
    kind: Kind,
    what: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(limit, work)
        .await
        .map_err(|_| Failure::new(kind, format!("{what} within {:.1} s", limit.as_secs_f64())))?
}

/// An error packet as a failure. Before the handshake it carries no SQL state.
fn refuse_error(packet: &[u8]) -> Result<(), Failure> {
    let [0xff, low, high, rest @ ..] = packet else { return Ok(()) };
    let text = match rest {
        [b'#', _, _, _, _, _, text @ ..] => text,
        text => text,
    };
    Err(Failure::server(u16::from_le_bytes([*low, *high]), String::from_utf8_lossy(text).into_owned()))
}

fn row(packet: &[u8], columns: usize) -> Result<Row, Failure> {
    let mut packet = ParseBuf(packet);
    let mut row = Vec::with_capacity(columns);
    for _ in 0..columns {
        if packet.0.first() == Some(&0xfb) {
            packet.skip(1);
            row.push(None);
        } else {
            let value = packet.checked_eat_lenenc_str().ok_or_else(cut_off)?;
            row.push(Some(String::from_utf8_lossy(value).into_owned()));
        }
    }
    Ok(row)
}

fn cut_off() -> Failure {
    Failure::new(Kind::Other, "an answer ended in the middle")
}

fn not_mysql(error: io::Error) -> Failure {
    Failure::new(Kind::Other, format!("not an answer of a MySQL server: {error}"))
}
