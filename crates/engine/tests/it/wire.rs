//! The network between a process and Postgres: it can lead elsewhere, be cut, and swallow everything.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What happens to connections from now on. Those that a change swallowed stay silent for ever.
#[derive(Debug, Clone)]
struct Way {
    to: PathBuf,
    cuts: u32,
    silences: u32,
    silent: bool,
}

pub(crate) struct Wire {
    port: u16,
    way: Arc<watch::Sender<Way>>,
    accepting: AbortHandle,
}

impl Wire {
    /// A port on this machine that leads to a server's socket.
    pub(crate) async fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = Arc::new(watch::Sender::new(Way { to: socket, cuts: 0, silences: 0, silent: false }));
        let ways = way.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let way = ways.subscribe();
                tokio::spawn(carry(client, way));
            }
        });
        Self { port, way, accepting: accepting.abort_handle() }
    }

    /// The URL of a database through it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://firebreak@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Breaks all connections; new ones lead to this socket.
    pub(crate) fn lead_to(&self, socket: PathBuf) {
        self.way.send_modify(|way| (way.to, way.cuts, way.silent) = (socket, way.cuts + 1, false));
    }

    /// No byte passes any more, and nobody is told: what a lost host or a dead route looks like.
    pub(crate) fn swallow(&self) {
        self.way.send_modify(|way| (way.silences, way.silent) = (way.silences + 1, true));
    }

    /// New connections work again; what was swallowed stays so.
    pub(crate) fn heal(&self) {
        self.way.send_modify(|way| way.silent = false);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: tokio::net::TcpStream, mut way: watch::Receiver<Way>) {
    let begun = way.borrow_and_update().clone();
    let passing = async {
        if begun.silent {
            return std::future::pending().await;
        }
        let Ok(server) = UnixStream::connect(&begun.to).await else { return };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let there = async {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(n @ 1..) = from_client.read(&mut buffer).await {
                if silenced(&begun, &way) {
                    return std::future::pending().await;
                }
                if to_server.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
        };
        let back = async {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
                if silenced(&begun, &way) {
                    return std::future::pending().await;
                }
                if to_client.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = there => {}
            () = back => {}
        }
    };
    let mut changes = way.clone();
    let cut = async {
        // The end of the test ends what is left.
        let _ = changes.wait_for(|now| now.cuts > begun.cuts).await;
    };
    tokio::select! {
        () = passing => {}
        () = cut => {}
    }
}

fn silenced(begun: &Way, way: &watch::Receiver<Way>) -> bool {
    way.borrow().silences > begun.silences
}
