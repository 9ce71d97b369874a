//! The socket for metrics and probes, for both IP families.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

const BACKLOG: i32 = 1024;

/// Listens on an address. `[::]` is every address of IPv6 and IPv4, whatever the operating system's default is, and
/// `0.0.0.0` on a system without IPv6.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let bound = match Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)) {
        Ok(socket) => bind(socket, address),
        Err(error) => Err(Failure::NoFamily(error)),
    };
    let socket = match bound {
        Ok(socket) => socket,
        Err(Failure::NoFamily(_)) if address.is_ipv6() && address.ip().is_unspecified() => {
            return listen((Ipv4Addr::UNSPECIFIED, address.port()).into());
        }
        Err(Failure::NoFamily(error) | Failure::Other(error)) => return Err(error),
    };
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

enum Failure {
    /// The system has no address of this family.
    NoFamily(io::Error),
    Other(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrNotAvailable => Failure::NoFamily(error),
            _ => Failure::Other(error),
        }
    }
}

fn bind(socket: Socket, address: SocketAddr) -> Result<Socket, Failure> {
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // A port with closing connections counts as free, as with tokio's listener.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}
