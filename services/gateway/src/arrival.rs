//! What a request brings along before anybody knows what it wants: its id, its trace, its language, and where it comes from.

use std::net::IpAddr;
use std::time::Instant;

use actix_http::header::{self, HeaderMap};
use actix_http::{HttpMessage as _, Request};
use ipnet::IpNet;
use kernel::{Ids, Locale};

/// Longer ids are replaced: they go into every log line.
const REQUEST_ID_MAX: usize = 128;
/// Shorter ones are not unique.
const REQUEST_ID_MIN: usize = 8;
/// Hops read from the right of `X-Forwarded-For`; more are not a chain of proxies but an attack.
const HOPS_MAX: usize = 20;
/// What is kept of `User-Agent`, for the audit log.
const AGENT_CHARS_MAX: usize = 400;

/// A request before routing.
pub struct Arrival {
    pub started: Instant,
    pub request_id: String,
    pub trace: Trace,
    pub locale: Locale,
    /// The address of the client, as far as the proxies in front can be believed.
    pub ip: IpAddr,
}

impl Arrival {
    /// Reads what the headers say, believing of them only what may be believed.
    pub fn read(request: &Request, ids: &Ids, started: Instant, trusted: &[IpNet]) -> Self {
        let headers = request.headers();
        let request_id = text(headers, "x-request-id")
            .filter(|id| is_request_id(id))
            .map_or_else(|| ids.next().to_string(), str::to_owned);
        let peer = request
            .peer_addr()
            .map_or(IpAddr::from([0, 0, 0, 0]), |address| address.ip());
        Self {
            started,
            request_id,
            trace: Trace::read(headers, ids),
            locale: text(headers, header::ACCEPT_LANGUAGE.as_str())
                .map_or(Locale::En, Locale::negotiate),
            ip: client_address(peer, headers, trusted),
        }
    }
}

/// The text of a header that stands there once and is printable.
pub fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The client's `User-Agent`, printable and cut.
pub fn agent(headers: &HeaderMap) -> Option<&str> {
    let agent = text(headers, header::USER_AGENT.as_str())?;
    // Only ASCII comes out of `to_str`, so cutting by bytes is safe.
    Some(&agent[..agent.len().min(AGENT_CHARS_MAX)])
}

fn is_request_id(id: &str) -> bool {
    (REQUEST_ID_MIN..=REQUEST_ID_MAX).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// The W3C trace context of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    parent: String,
}

impl Trace {
    /// Continues the caller's trace, or starts one. What breaks the format counts as absent (Trace Context, section 4.3).
    fn read(headers: &HeaderMap, ids: &Ids) -> Self {
        let span = &ids.next().simple().to_string()[16..];
        match text(headers, "traceparent").filter(|parent| is_traceparent(parent)) {
            Some(parent) => Self {
                parent: format!("00-{}-{span}-{}", &parent[3..35], &parent[53..55]),
            },
            None => Self {
                parent: format!("00-{}-{span}-00", ids.next().simple()),
            },
        }
    }

    /// Takes over what the exporter's span says.
    pub fn replace(&mut self, parent: String) {
        if is_traceparent(&parent) {
            self.parent = parent;
        }
    }

    /// The trace id: 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.parent[3..35]
    }

    /// The header to hand on.
    pub fn parent(&self) -> &str {
        &self.parent
    }
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, ids not all zero. A later version may be longer.
fn is_traceparent(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = |range: std::ops::Range<usize>| {
        bytes[range]
            .iter()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let some = |range: std::ops::Range<usize>| bytes[range].iter().any(|b| *b != b'0');
    bytes.len() >= 55
        && (bytes.len() == 55 || (&bytes[..2] != b"00" && bytes[55] == b'-'))
        && bytes[2] == b'-'
        && bytes[35] == b'-'
        && bytes[52] == b'-'
        && hex(0..2)
        && &bytes[..2] != b"ff"
        && hex(3..35)
        && some(3..35)
        && hex(36..52)
        && some(36..52)
        && hex(53..55)
}

/// The right-most address that no trusted proxy vouches for.
///
/// `X-Forwarded-For` counts only when the socket's peer is a trusted proxy, and then from the right: everything left of the first
/// untrusted hop was written by that hop. `Forwarded`, `X-Real-IP` and spellings with underscores are ignored. An unreadable hop ends
/// the walk at the proxy that reported it.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.contains(ip));
    let mut client = peer.to_canonical();
    if !is_trusted(&client) {
        return client;
    }
    let lines: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .map(|value| value.to_str().unwrap_or("?"))
        .collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    for hop in hops.take(HOPS_MAX) {
        let Some(address) = hop_address(hop.trim()) else {
            break;
        };
        client = address;
        if !is_trusted(&client) {
            break;
        }
    }
    client
}

fn hop_address(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>().ok().or_else(|| {
        hop.parse::<std::net::SocketAddr>()
            .ok()
            .map(|socket| socket.ip())
    });
    address
        .or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
        .map(|ip| ip.to_canonical())
}

/// What a limit counts by: one IPv4 address, or the /64 that an IPv6 subscriber owns.
pub fn limit_subject(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("ip:{ip}"),
        IpAddr::V6(ip) => {
            let s = ip.segments();
            format!("ip:{:x}:{:x}:{:x}:{:x}::/64", s[0], s[1], s[2], s[3])
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        headers
    }

    #[test]
    fn the_client_is_the_right_most_hop_that_nobody_vouches_for() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let check = |peer: &str, lines: &[(&str, &str)], expected: &str| {
            let client = client_address(peer.parse().unwrap(), &headers(lines), &trusted);
            assert_eq!(client.to_string(), expected, "{peer} {lines:?}");
        };
        let xff = "x-forwarded-for";
        check("203.0.113.9", &[(xff, "1.2.3.4")], "203.0.113.9");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &[(xff, "1.2.3.4")], "1.2.3.4");
        check(
            "10.0.0.1",
            &[(xff, "6.6.6.6, 1.2.3.4, 10.0.0.2")],
            "1.2.3.4",
        );
        check("10.0.0.1", &[(xff, "6.6.6.6"), (xff, "1.2.3.4")], "1.2.3.4");
        check("10.0.0.1", &[(xff, "1.2.3.4, garbage")], "10.0.0.1");
        check(
            "10.0.0.1",
            &[(xff, "1.2.3.4, fe80::1%eth0, 10.0.0.7")],
            "10.0.0.7",
        );
        check("10.0.0.1", &[(xff, "")], "10.0.0.1");
        check("::ffff:10.0.0.1", &[(xff, "::ffff:1.2.3.4")], "1.2.3.4");
        check("10.0.0.1", &[(xff, "1.2.3.4:5678")], "1.2.3.4");
        check("fd00::1", &[(xff, "[2001:db8::1]:443")], "2001:db8::1");
        check(
            "10.0.0.1",
            &[
                ("x-real-ip", "9.9.9.9"),
                ("forwarded", "for=9.9.9.9"),
                ("x_forwarded_for", "9.9.9.9"),
            ],
            "10.0.0.1",
        );
    }

    #[test]
    fn neighbours_in_one_ipv6_network_share_a_limit() {
        assert_eq!(
            limit_subject("2001:db8:1:2:3::4".parse().unwrap()),
            limit_subject("2001:db8:1:2:ffff::1".parse().unwrap())
        );
        assert_ne!(
            limit_subject("2001:db8:1:2::1".parse().unwrap()),
            limit_subject("2001:db8:1:3::1".parse().unwrap())
        );
    }

    #[test]
    fn a_sound_trace_goes_on_and_a_broken_one_starts_anew() {
        let ids = Ids::counted();
        let sound = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = Trace::read(&headers(&[("traceparent", sound)]), &ids);
        assert_eq!(trace.id(), "0af7651916cd43dd8448eb211c80319c");
        assert!(
            trace.parent().ends_with("-01")
                && is_traceparent(trace.parent())
                && trace.parent() != sound
        );
        for broken in [
            "",
            "00-0af7",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            &sound.to_uppercase(),
        ] {
            assert!(!is_traceparent(broken), "{broken}");
        }
    }

    #[test]
    fn only_sane_request_ids_are_taken_over() {
        assert!(is_request_id("0198c2f0-aaaa_bbbb.1"));
        for id in [
            "",
            "short",
            "has space inside",
            "line\nbreak12",
            &"x".repeat(129),
        ] {
            assert!(!is_request_id(id), "{id}");
        }
    }
}
