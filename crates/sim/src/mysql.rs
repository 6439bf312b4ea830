//! MySQL on the wire: proxy hosts, their admin interfaces and Aurora's endpoints, each on an address
//! of its own.
//!
//! [`Listeners`] keeps the open sockets in step with the world. A port that the world no longer has
//! loses its connections at once, as when a process dies; one that is merely not accepting (a paused
//! proxy) refuses newcomers and keeps those it has. Where a host has ended in silence, nobody is told even that.

mod admin;
mod auth;
mod packet;
mod query;
mod session;

#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::physics::{Persona, Port};
use crate::shared::Shared;

/// Connections waiting to be accepted.
const BACKLOG: u32 = 256;

/// The open ports.
#[derive(Default)]
pub(crate) struct Listeners {
    open: Mutex<HashMap<SocketAddr, Open>>,
    silent: Mutex<HashMap<SocketAddr, Silent>>,
}

/// A port at which packets are lost: its queue of connections is full, and nobody ever takes one out of it, so that the kernel
/// drops whatever else knocks.
struct Silent {
    _listener: std::net::TcpListener,
    _fills: TcpStream,
}

impl Silent {
    async fn at(address: SocketAddr) -> io::Result<Self> {
        let listener = bound(address)?.listen(0)?.into_std()?;
        // A queue of none takes one.
        Ok(Self { _listener: listener, _fills: TcpStream::connect(address).await? })
    }
}

struct Open {
    persona: Persona,
    /// Every connection holds a receiver and ends when this is dropped.
    life: watch::Sender<()>,
    /// The accepting task; none while the port refuses newcomers.
    door: Option<JoinHandle<()>>,
}

impl Open {
    /// Closes the listening socket, for certain: the task has ended when this returns.
    async fn shut(&mut self) {
        if let Some(door) = self.door.take() {
            door.abort();
            let _ = door.await;
        }
    }
}

type Settling<'a> = Pin<Box<dyn Future<Output = Result<(), (SocketAddr, io::Error)>> + Send + 'a>>;

impl Listeners {
    /// Opens and closes sockets until they match the world as it is now.
    ///
    /// Boxed, because a connection that it opens may call it again (`PROXYSQL PAUSE`).
    pub(crate) fn settle<'a>(&'a self, shared: &'a Arc<Shared>) -> Settling<'a> {
        Box::pin(self.settle_now(shared))
    }

    async fn settle_now(&self, shared: &Arc<Shared>) -> Result<(), (SocketAddr, io::Error)> {
        let mut open = self.open.lock().await;
        let wanted: HashMap<SocketAddr, Port> =
            shared.world(|w| w.ports()).into_iter().map(|p| (p.address, p)).collect();
        let gone: Vec<SocketAddr> = open
            .iter()
            .filter(|(address, is)| wanted.get(address).is_none_or(|p| p.persona != is.persona))
            .map(|(address, _)| *address)
            .collect();
        for address in gone {
            if let Some(mut port) = open.remove(&address) {
                port.shut().await;
            }
        }
        let mut silent = self.silent.lock().await;
        let lost: HashSet<SocketAddr> = shared.world(|w| w.silent_ports()).into_iter().collect();
        silent.retain(|address, _| lost.contains(address));
        for address in lost {
            if let Entry::Vacant(port) = silent.entry(address) {
                port.insert(Silent::at(address).await.map_err(|e| (address, e))?);
            }
        }
        for (address, port) in wanted {
            let is = open.entry(address).or_insert_with(|| Open {
                persona: port.persona,
                life: watch::Sender::new(()),
                door: None,
            });
            if !port.accepting {
                is.shut().await;
            } else if is.door.is_none() {
                let listener = bound(address).and_then(|socket| socket.listen(BACKLOG));
                let listener = listener.map_err(|e| (address, e))?;
                let task = accept(shared.clone(), listener, port.persona, is.life.subscribe());
                is.door = Some(tokio::spawn(task));
            }
        }
        Ok(())
    }

    /// Closes everything.
    pub(crate) async fn close(&self) {
        for (_, mut port) in self.open.lock().await.drain() {
            port.shut().await;
        }
        self.silent.lock().await.clear();
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Connections of an earlier life may linger in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, persona: Persona, life: watch::Receiver<()>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Without it every query costs 40 ms of delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                let shared = shared.clone();
                let mut life = life.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        // The client's manners are its own business: a broken connection is no event here.
                        _ = session::serve(shared, stream, peer, persona) => {}
                        _ = life.changed() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a MySQL connection failed");
                tokio::task::yield_now().await;
            }
        }
    }
}
