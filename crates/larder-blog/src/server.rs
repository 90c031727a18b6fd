//! Server: one listener with its router, and an orderly end.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{door, error::BlogError};

/// How many connections may wait to be accepted. The 128 that are usual turn a part of a crowd away,
/// which comes back only a second later.
const BACKLOG: u32 = 1024;

/// A port that is taken but not yet served, so that a port in use is found before anything starts.
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// `variable` is the setting to name if the port cannot be had.
    pub(crate) fn bind(
        ip: IpAddr,
        port: u16,
        variable: &'static str,
    ) -> Result<Listener, BlogError> {
        let address = SocketAddr::new(ip, port);
        let bind = || {
            let socket = if ip.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener = socket.listen(BACKLOG)?;
            let address = listener.local_addr()?;
            Ok(Listener { listener, address })
        };
        bind().map_err(|source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BlogError::PortInUse { variable, address },
            _ => BlogError::Listen { variable, address, source },
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://127.0.0.1:8000`
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A running server. Dropping it leaves it running until the process ends; call [`Server::stop`].
pub(crate) struct Server {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves until `stop` is cancelled.
    pub(crate) fn start(
        name: &'static str,
        listener: Listener,
        router: Router,
        stop: CancellationToken,
    ) -> Server {
        let serving = door::serve(listener.listener, router, door::MAX_CONNECTIONS, stop.clone());
        Server { name, stop, task: tokio::spawn(serving) }
    }

    /// Accepts no more connections, lets requests under way end `within` that time, and ends.
    pub(crate) async fn stop(mut self, within: Duration) {
        self.stop.cancel();
        match tokio::time::timeout(within, &mut self.task).await {
            Ok(Ok(())) => tracing::debug!("{} stopped", self.name),
            Ok(Err(error)) => tracing::error!("{} broke: {error}", self.name),
            Err(_) => {
                self.task.abort();
                tracing::info!("{} stopped with requests under way", self.name);
            }
        }
    }
}
