//! Ports that are ours from before the first process listens on them until the proof ends.
//!
//! A port that was merely free a moment ago may be anybody's by the time somebody listens there.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use kernel::{Clock, Ids};

/// Below the ports of outgoing connections, or one of those could take a port between two lives of its process.
const FIRST: u16 = 22_000;
const COUNT: u16 = 10_000;

/// A reserved port. The UDP port of the same number, which nobody uses, tells other proofs that it is taken.
pub(crate) struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    pub(crate) fn reserve() -> Self {
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

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
