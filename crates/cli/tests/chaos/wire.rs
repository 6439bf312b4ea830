//! What goes over the wire between a process and Postgres: a proxy that reads the protocol, so that it can lose exactly
//! the answer of a commit, or deliver a write after its writer was declared dead.
//!
//! ```text
//!  process ──▶ message by message ──▶ a write? ask the schedule ──▶ forward · lose · hold
//!  process ◀── message by message ◀── the answer of a write that is to be lost is read, then dropped
//! ```

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, UnixStream, unix};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::chaos::Chaos;
use crate::schedule::{LEASE, WireTrouble};

/// The writes that faults are aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// A run is created.
    Create,
    /// A journal grows.
    Append,
    /// Runs are taken over.
    Claim,
    /// A lease is renewed.
    Renew,
    /// A wish is put into an inbox.
    Inbox,
}

impl Write {
    /// What an SQL text does, as far as faults care.
    fn of(sql: &str) -> Option<Self> {
        let has = |part: &str| sql.contains(part);
        match () {
            () if has("INSERT INTO run ") || has("INSERT INTO run(") => Some(Self::Create),
            () if has("INSERT INTO journal") => Some(Self::Append),
            () if has("UPDATE run SET owner") => Some(Self::Claim),
            () if has("UPDATE worker") => Some(Self::Renew),
            () if has("INSERT INTO inbox") => Some(Self::Inbox),
            () => None,
        }
    }

    /// Does it answer with a row when it did something?
    fn answers_rows(self) -> bool {
        matches!(self, Self::Create | Self::Append | Self::Claim)
    }
}

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Line {
    /// Nothing passes.
    hole: bool,
    delay: Duration,
    /// Connections of an older generation are cut.
    generation: u64,
}

/// The line of one process.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    line: watch::Sender<Line>,
    listening: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

impl Proxy {
    pub(crate) async fn open(server: usize, postgres: PathBuf, chaos: Arc<Chaos>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let line = watch::Sender::new(Line::default());
        let lines = line.clone();
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut line, postgres, chaos) = (lines.subscribe(), postgres.clone(), chaos.clone());
                let generation = line.borrow().generation;
                tokio::spawn(async move {
                    let _ = client.set_nodelay(true);
                    let Ok(backend) = UnixStream::connect(&postgres).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_backend, to_backend) = backend.into_split();
                    let fate: Fate = Arc::default();
                    let up = Up { server, chaos: chaos.clone(), line: line.clone(), fate: fate.clone() };
                    let down = Down { server, chaos, line: line.clone(), fate };
                    tokio::select! {
                        _ = up.run(BufReader::new(from_client), to_backend) => {}
                        _ = down.run(BufReader::new(from_backend), to_client) => {}
                        _ = line.wait_for(|l| l.generation > generation) => {}
                    }
                });
            }
        });
        Ok(Self { port, line, listening })
    }

    pub(crate) fn cut(&self) {
        self.line.send_modify(|line| line.generation += 1);
    }

    pub(crate) fn hole(&self, hole: bool) {
        self.line.send_modify(|line| line.hole = hole);
    }

    pub(crate) fn slow(&self, delay: Duration) {
        self.line.send_modify(|line| line.delay = delay);
    }
}

async fn travel(line: &mut watch::Receiver<Line>) {
    let _ = line.wait_for(|l| !l.hole).await;
    let delay = line.borrow().delay;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

/// A message as it stands on the wire: kind (0 for the first of a connection, which has none), and all its bytes.
struct Message {
    kind: u8,
    bytes: Vec<u8>,
}

impl Message {
    async fn read<R: AsyncReadExt + Unpin>(from: &mut R, typed: bool) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(64);
        let kind = if typed { from.read_u8().await? } else { 0 };
        if typed {
            bytes.push(kind);
        }
        let length = from.read_u32().await?;
        bytes.extend(length.to_be_bytes());
        let start = bytes.len();
        let rest = (length as usize).checked_sub(4).ok_or(io::ErrorKind::InvalidData)?;
        bytes.resize(start + rest, 0);
        from.read_exact(&mut bytes[start..]).await?;
        Ok(Self { kind, bytes })
    }

    /// The zero-terminated texts after the header.
    fn texts(&self) -> impl Iterator<Item = String> {
        let body = self.bytes.get(5..).unwrap_or_default();
        body.split(|b| *b == 0).map(|text| String::from_utf8_lossy(text).into_owned())
    }
}

/// What the next answer on a connection meets.
type Fate = Arc<Mutex<Option<(Write, WireTrouble)>>>;

struct Up {
    server: usize,
    chaos: Arc<Chaos>,
    line: watch::Receiver<Line>,
    fate: Fate,
}

impl Up {
    async fn run(
        mut self,
        mut from: BufReader<OwnedReadHalf>,
        mut to: unix::OwnedWriteHalf,
    ) -> io::Result<()> {
        let mut prepared: HashMap<String, Write> = HashMap::new();
        let mut typed = false;
        loop {
            let message = Message::read(&mut from, typed).await?;
            typed = true;
            match message.kind {
                b'P' => {
                    let mut texts = message.texts();
                    let (name, sql) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
                    match Write::of(&sql) {
                        Some(write) => prepared.insert(name, write),
                        None => prepared.remove(&name),
                    };
                }
                b'B' => {
                    let statement = message.texts().nth(1).unwrap_or_default();
                    if let Some(write) = prepared.get(&statement) {
                        self.meet(*write).await?;
                    }
                }
                _ => {}
            }
            travel(&mut self.line).await;
            to.write_all(&message.bytes).await?;
        }
    }

    /// A write is about to be sent on: what does it meet?
    async fn meet(&mut self, write: Write) -> io::Result<()> {
        match self.chaos.meets(self.server, write) {
            None => {}
            Some(WireTrouble::LoseRequest) => return Err(io::ErrorKind::ConnectionAborted.into()),
            Some(WireTrouble::KillBefore) => {
                self.chaos.kill(self.server);
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Some(WireTrouble::Ghost) => {
                self.chaos.kill(self.server);
                tokio::time::sleep(LEASE.mul_f64(2.2)).await;
            }
            Some(after) => {
                *self.fate.lock().unwrap_or_else(PoisonError::into_inner) = Some((write, after));
            }
        }
        Ok(())
    }
}

struct Down {
    server: usize,
    chaos: Arc<Chaos>,
    line: watch::Receiver<Line>,
    fate: Fate,
}

impl Down {
    async fn run(
        mut self,
        mut from: BufReader<unix::OwnedReadHalf>,
        mut to: OwnedWriteHalf,
    ) -> io::Result<()> {
        loop {
            let first = Message::read(&mut from, true).await?;
            let fate = self.fate.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some((write, trouble)) = fate else {
                travel(&mut self.line).await;
                to.write_all(&first.bytes).await?;
                continue;
            };
            // Read on until the statement is over: only then is it committed.
            let (mut kind, mut answer, mut did) = (first.kind, first.bytes, !write.answers_rows());
            while kind != b'Z' {
                did |= kind == b'D';
                let more = Message::read(&mut from, true).await?;
                kind = more.kind;
                answer.extend(more.bytes);
            }
            if !did {
                // It changed nothing: losing that would be no trouble. The next one, then.
                self.chaos.aim(write, trouble);
                to.write_all(&answer).await?;
                continue;
            }
            self.chaos.note(format!("{write:?} of server {} is committed: {trouble:?}", self.server));
            match trouble {
                WireTrouble::LateReply => {
                    tokio::time::sleep(LEASE.mul_f64(1.3)).await;
                    to.write_all(&answer).await?;
                    continue;
                }
                WireTrouble::KillAfter => self.chaos.kill(self.server),
                _ => {}
            }
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
}
