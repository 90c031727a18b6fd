//! Inherited: sockets that were listened at before this process began, by a supervisor or by the process before it.
//!
//! Both hand them over as systemd does: from file descriptor 3 on, so many as `LISTEN_FDS` says, with names in
//! `LISTEN_FDNAMES`. The process before this one does not know this one's number when it says that, so there is no
//! `LISTEN_PID`; and it hands over one socket more, over which both talk.

use std::{
    env, io, net,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net as unix,
    },
};

use larder_gateway::{
    Server,
    downstream::{Bound, ListenAddress},
};
use listenfd::ListenFd;
use rustix::net::sockopt;

/// Where systemd's list begins.
pub(crate) const FIRST: i32 = 3;
/// What a socket is called over which this process talks with the one before it.
pub(crate) const TALK: &str = "larder-upgrade";
/// What sockets are called that Larder has opened by itself: with them their files change hands.
pub(crate) const OURS: &str = "larder-own";
/// One for each listener, the admin API's, and the one to talk over.
const MOST: usize = Server::MOST_LISTENERS + 2;

/// Why what was handed over is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum InheritError {
    #[error("LISTEN_FDS={0} is no number of sockets from 0 to {MOST}")]
    Count(String),
    #[error(
        "the socket handed over as file descriptor {fd} ({name}) will not do: it is {what}; a listening stream socket \
         is wanted (in a .socket unit: ListenStream=, and not Accept=yes)"
    )]
    Unusable { fd: i32, name: String, what: &'static str },
    #[error(
        "nothing in the settings is for the sockets that were handed over: {0}; have a listener listen there, give the \
         socket a listener's name (FileDescriptorName=), or take it out of the .socket unit"
    )]
    Unwanted(String),
    #[error("cannot use what was handed over")]
    Io(#[from] io::Error),
}

/// What was handed over.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    sockets: Vec<Socket>,
    /// The process before this one, if there is one.
    pub(crate) before: Option<unix::UnixStream>,
}

/// A socket that is listened at.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) bound: Bound,
    /// What its supervisor calls it, where one has opened it.
    pub(crate) name: Option<String>,
}

#[derive(Debug)]
struct Socket {
    fd: i32,
    name: String,
    address: ListenAddress,
    /// It takes IPv4 as well.
    is_dual: bool,
    listener: Listening,
}

#[derive(Debug)]
enum Listening {
    Tcp(net::TcpListener),
    Unix(unix::UnixListener),
}

impl Inherited {
    /// To be called once, while there are no threads: what says it is taken out of the environment.
    pub(crate) fn of_environment() -> Result<Inherited, InheritError> {
        let said = env::var_os("LISTEN_FDS").unwrap_or_default();
        let said = said.to_string_lossy().into_owned();
        // What is for another process is no matter here, whatever it says.
        let of = env::var("LISTEN_PID").unwrap_or_default();
        if said.is_empty() || !of.is_empty() && of != std::process::id().to_string() {
            return Ok(Inherited::default());
        }
        let count = said.parse().ok().filter(|count: &usize| *count <= MOST);
        count.ok_or(InheritError::Count(said))?;
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut handed = ListenFd::from_env();
        let mut inherited = Inherited::default();
        for (index, fd) in (0..handed.len()).zip(FIRST..) {
            let name = names.next().unwrap_or_default();
            let unusable = |what| InheritError::Unusable { fd, name: name.clone(), what };
            let listener = match handed.take_tcp_listener(index) {
                Ok(Some(listener)) => Listening::Tcp(listener),
                _ => match handed.take_unix_listener(index) {
                    Ok(Some(listener)) => Listening::Unix(listener),
                    _ if handed.take_udp_socket(index).is_ok() => {
                        return Err(unusable("a datagram socket"));
                    }
                    _ if handed.take_unix_datagram(index).is_ok() => {
                        return Err(unusable("a datagram socket"));
                    }
                    _ => return Err(unusable("no such socket")),
                },
            };
            match listener {
                Listening::Unix(stream) if name == TALK => {
                    inherited.before = Some(OwnedFd::from(stream).into());
                }
                listener => inherited.sockets.push(Socket::new(fd, name, listener)?),
            }
        }
        Ok(inherited)
    }

    /// What each of these is to listen at, by its name and its place; `None` where it was not handed over.
    pub(crate) fn take(
        &mut self,
        wanted: &[(&str, &ListenAddress)],
    ) -> Result<Vec<Option<Taken>>, InheritError> {
        let there: Vec<_> = self.sockets.iter().map(Socket::described).collect();
        let fitting = fitting(wanted, &there);
        let mut sockets: Vec<_> = std::mem::take(&mut self.sockets).into_iter().map(Some).collect();
        let bound = fitting.into_iter().map(|index| {
            let socket = index.and_then(|index| sockets[index].take());
            socket.map(Socket::taken).transpose()
        });
        let bound = bound.collect::<Result<_, _>>()?;
        self.sockets.extend(sockets.into_iter().flatten());
        Ok(bound)
    }

    /// That none is left over that a supervisor has opened. Those of the process before are closed here, and told of.
    pub(crate) fn leave_none(&mut self) -> Result<(), InheritError> {
        let left = std::mem::take(&mut self.sockets).into_iter();
        let (ours, others): (Vec<_>, Vec<_>) = left.partition(|socket| socket.name == OURS);
        if !others.is_empty() {
            let list = others
                .iter()
                .map(|Socket { fd, name, address, .. }| {
                    format!("{address} (file descriptor {fd}, {name:?})")
                })
                .collect::<Vec<_>>();
            return Err(InheritError::Unwanted(list.join(", ")));
        }
        for Socket { address, .. } in ours {
            tracing::info!(
                "{address} is no longer listened at: it is not in the settings any more"
            );
        }
        Ok(())
    }
}

impl Socket {
    fn new(fd: i32, name: String, listener: Listening) -> Result<Socket, InheritError> {
        let unusable =
            |name: &str, what| InheritError::Unusable { fd, name: name.to_owned(), what };
        let socket = match &listener {
            Listening::Tcp(listener) => listener.as_fd(),
            Listening::Unix(listener) => listener.as_fd(),
        };
        if !sockopt::socket_acceptconn(socket).map_err(io::Error::from)? {
            return Err(unusable(&name, "a connection, or a socket that nobody listens at"));
        }
        let (address, is_dual) = match &listener {
            Listening::Tcp(listener) => {
                let address = listener.local_addr()?;
                let is_dual =
                    address.is_ipv6() && sockopt::ipv6_v6only(listener).ok() == Some(false);
                (ListenAddress::Tcp(address), is_dual)
            }
            Listening::Unix(listener) => match listener.local_addr()?.as_pathname() {
                Some(path) => (ListenAddress::Unix(path.to_owned()), false),
                None => return Err(unusable(&name, "a Unix socket without a path")),
            },
        };
        Ok(Socket { fd, name, address, is_dual, listener })
    }

    fn described(&self) -> There {
        let Socket { name, address, is_dual, .. } = self;
        There { name: name.clone(), address: address.clone(), is_dual: *is_dual }
    }

    fn taken(self) -> Result<Taken, InheritError> {
        let is_ours = self.name == OURS;
        let bound = match self.listener {
            Listening::Tcp(listener) => Bound::tcp(listener)?,
            Listening::Unix(listener) => Bound::unix(listener, is_ours)?,
        };
        Ok(Taken { bound, name: (!is_ours).then_some(self.name) })
    }
}

/// A socket that was handed over, as far as it matters for what it is.
#[derive(Debug)]
struct There {
    name: String,
    address: ListenAddress,
    is_dual: bool,
}

/// Which of those that are there each that is wanted gets: by its name first, then by its place, then by what takes its
/// place in. None is given twice.
fn fitting(wanted: &[(&str, &ListenAddress)], there: &[There]) -> Vec<Option<usize>> {
    type Fits = fn(&str, &ListenAddress, &There) -> bool;
    const ROUNDS: [Fits; 4] = [
        |name, _, there| there.name == name && there.name != OURS,
        |_, wanted, there| there.address == *wanted,
        // [::]:80, as systemd has it for a port alone, takes 0.0.0.0:80 in.
        |_, wanted, there| {
            there.is_dual
                && is_any(wanted, Ipv4Addr::UNSPECIFIED.into())
                && is_any(&there.address, Ipv6Addr::UNSPECIFIED.into())
                && port(wanted) == port(&there.address)
        },
        // Port 0 is whichever there was.
        |_, wanted, there| {
            there.name == OURS && port(wanted) == Some(0) && ip(wanted) == ip(&there.address)
        },
    ];
    let is_anothers = |there: &There, own: &str| {
        there.name != own
            && there.name != OURS
            && wanted.iter().any(|(name, _)| there.name == *name)
    };
    let mut taken = vec![false; there.len()];
    let mut found = vec![None; wanted.len()];
    for fits in ROUNDS {
        for ((name, address), found) in wanted.iter().zip(&mut found) {
            if found.is_some() {
                continue;
            }
            *found = there.iter().enumerate().position(|(index, there)| {
                !taken[index] && !is_anothers(there, name) && fits(name, address, there)
            });
            if let Some(index) = *found {
                taken[index] = true;
            }
        }
    }
    found
}

fn tcp(address: &ListenAddress) -> Option<SocketAddr> {
    match address {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    }
}

fn port(address: &ListenAddress) -> Option<u16> {
    tcp(address).map(|address| address.port())
}

fn ip(address: &ListenAddress) -> Option<IpAddr> {
    tcp(address).map(|address| address.ip())
}

fn is_any(address: &ListenAddress, any: IpAddr) -> bool {
    ip(address) == Some(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> ListenAddress {
        match text.strip_prefix("unix:") {
            Some(path) => ListenAddress::Unix(path.into()),
            None => ListenAddress::Tcp(text.parse().unwrap()),
        }
    }

    /// `wanted` and `there` are names and places; those that are there may be called dual by a `+`.
    fn found(wanted: &[(&str, &str)], there: &[(&str, &str)]) -> Vec<Option<usize>> {
        let places: Vec<_> = wanted.iter().map(|(_, place)| at(place)).collect();
        let wanted: Vec<_> = wanted.iter().map(|(name, _)| *name).zip(&places).collect();
        let there: Vec<_> = there
            .iter()
            .map(|(name, place)| There {
                name: (*name).to_owned(),
                address: at(place.trim_end_matches('+')),
                is_dual: place.ends_with('+'),
            })
            .collect();
        fitting(&wanted, &there)
    }

    #[test]
    fn a_socket_goes_by_its_name_or_its_place_and_to_one_only() {
        let server = [("server", "0.0.0.0:80"), ("admin", "127.0.0.1:9191")];
        assert_eq!(found(&server, &[]), [None, None]);
        let by_place = [("larder.socket", "127.0.0.1:9191"), ("larder.socket", "0.0.0.0:80")];
        assert_eq!(found(&server, &by_place), [Some(1), Some(0)]);
        // A name goes before a place, for whoever has it.
        let named = [("admin", "0.0.0.0:80"), ("server", "127.0.0.1:1")];
        assert_eq!(found(&server, &named), [Some(1), Some(0)]);
        assert_eq!(
            found(&[("one", "0.0.0.0:80"), ("two", "0.0.0.0:80")], &by_place),
            [Some(1), None]
        );
        assert_eq!(
            found(&[("one", "unix:/run/a")], &[("", "unix:/run/b"), ("", "unix:/run/a")]),
            [Some(1)]
        );
        assert_eq!(found(&[("one", "0.0.0.0:80")], &[("", "127.0.0.1:80")]), [None]);
    }

    #[test]
    fn a_port_alone_as_a_supervisor_opens_it_takes_all_addresses_in() {
        assert_eq!(found(&[("server", "0.0.0.0:80")], &[("", "[::]:80+")]), [Some(0)]);
        assert_eq!(found(&[("server", "[::]:80")], &[("", "[::]:80+")]), [Some(0)]);
        for there in ["[::]:80", "[::]:81+", "[::1]:80+"] {
            assert_eq!(found(&[("server", "0.0.0.0:80")], &[("", there)]), [None], "{there}");
        }
        assert_eq!(found(&[("server", "127.0.0.1:80")], &[("", "[::]:80+")]), [None]);
    }

    #[test]
    fn whoever_asked_for_any_port_keeps_the_one_that_it_got() {
        let wanted = [("server", "127.0.0.1:0"), ("admin", "127.0.0.1:0")];
        let there = [(OURS, "127.0.0.1:4001"), (OURS, "127.0.0.1:4002")];
        assert_eq!(found(&wanted, &there), [Some(0), Some(1)]);
        assert_eq!(
            found(&wanted, &[("", "127.0.0.1:4001")]),
            [None, None],
            "it is somebody's choice"
        );
    }
}
