//! The socket of metrics and probes, for both families at once.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

const BACKLOG: i32 = 1024;

/// Listens. `[::]` is every address of IPv6 and of IPv4, whatever the system's default is, and `0.0.0.0` where there is no IPv6.
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
    /// The system has no addresses of this family.
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
    // As tokio does: a port with closing connections is not in use.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}
