//! Ports that stay ours while the process behind them comes and goes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use kernel::{Clock, Ids};

/// Below the ports of outgoing connections, or one of those could take a port between two lives of its process.
const FIRST: u16 = 22_000;
const COUNT: u16 = 10_000;

/// A reserved port. The UDP port of the same number, which nobody uses, tells other fleets that it is taken.
pub(super) struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    pub(super) fn reserve() -> Self {
        let random = Ids::random(Clock::system()).next();
        let [.., high, low] = *random.as_bytes();
        let start = u16::from_be_bytes([high, low]) % COUNT;
        (0..COUNT)
            .map(|step| FIRST + (start + step) % COUNT)
            .find_map(Self::claim)
            .expect("the machine has a free port")
    }

    fn claim(number: u16) -> Option<Self> {
        let claim = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        // Whether anybody listens there; the listener is closed at once.
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self {
            number,
            _claim: claim,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}
