//! Loads a server over kept connections.
//!
//! Closed: each connection asks again as soon as it is answered. Open: requests are due at fixed times, whether the server keeps up or
//! not, and the time to answer counts from when a request was due.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::http::{Connection, Head};
use super::now;

/// How a closed load went.
pub(super) struct Closed {
    /// Sorted.
    pub(super) latencies: Vec<Duration>,
    pub(super) took: Duration,
}

impl Closed {
    pub(super) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// Milliseconds that a share of the requests stayed below.
    pub(super) fn percentile_ms(&self, share: f64) -> f64 {
        percentile_ms(&self.latencies, share)
    }
}

/// Of sorted times.
pub(super) fn percentile_ms(sorted: &[Duration], share: f64) -> f64 {
    let at = (sorted.len().saturating_sub(1)) as f64 * share;
    sorted
        .get(at as usize)
        .map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// Sends `count` requests, going round `requests`, over `connections` connections; each must be answered with `status`.
pub(super) fn closed(
    address: &str,
    requests: &[Vec<u8>],
    (count, connections): (usize, usize),
    status: u16,
) -> Result<Closed> {
    let started = now();
    let latencies: Result<Vec<_>> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..connections)
            .map(|first| {
                let own = (first..count)
                    .step_by(connections)
                    .map(|n| &requests[n % requests.len()]);
                scope.spawn(move || one_by_one(address, own, status))
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().expect("callers do not panic"))
            .collect()
    });
    let took = started.elapsed();
    let mut latencies = latencies?.concat();
    latencies.sort_unstable();
    Ok(Closed { latencies, took })
}

fn one_by_one<'r>(
    address: &str,
    requests: impl Iterator<Item = &'r Vec<u8>>,
    status: u16,
) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(address)?;
    requests
        .map(|request| {
            let started = now();
            let answer = connection.exchange(request)?;
            ensure!(
                answer.status == status,
                "a request was answered with {}: {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            );
            Ok(started.elapsed())
        })
        .collect()
}

/// What to send when.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub(super) per_second: f64,
    pub(super) lasts: Duration,
    pub(super) connections: usize,
}

/// One answer under an open load.
#[derive(Clone, Copy)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) has_retry_after: bool,
    /// From when the request was due.
    pub(super) since_due: Duration,
    /// From when it was sent.
    pub(super) since_sent: Duration,
}

/// Sends requests at a pace, going round `requests`.
pub(super) fn open(address: &str, requests: &[Vec<u8>], pace: Pace) -> Result<Vec<Told>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let callers = (0..pace.connections).map(|n| paced(address, requests, pace, n));
        let told = futures::future::try_join_all(callers).await?;
        Ok(told.concat())
    })
}

async fn paced(
    address: &str,
    requests: &[Vec<u8>],
    pace: Pace,
    caller: usize,
) -> Result<Vec<Told>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    // Everybody connects first.
    let begin = now() + Duration::from_millis(50 + pace.connections as u64 / 10);
    let own = (pace.per_second * pace.lasts.as_secs_f64() / pace.connections as f64) as usize;
    let mut told = Vec::with_capacity(own);
    let mut buffer = Vec::with_capacity(16 * 1024);
    for turn in 0..own {
        let n = turn * pace.connections + caller;
        let due = begin + Duration::from_secs_f64(n as f64 / pace.per_second);
        let request = &requests[n % requests.len()];
        // A server that is far behind has shown enough; what was due in the meantime is left out rather than sent late.
        if due.elapsed() > pace.lasts {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        told.push(exchange(&mut stream, &mut buffer, request, due).await?);
    }
    Ok(told)
}

async fn exchange(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    request: &[u8],
    due: Instant,
) -> Result<Told> {
    let sent = now();
    stream.write_all(request).await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        let Some(head) = Head::read(buffer)? else {
            continue;
        };
        while buffer.len() < head.bytes + head.body_bytes {
            if stream.read_buf(buffer).await? == 0 {
                bail!("the server closed the connection within a body");
            }
        }
        return Ok(Told {
            status: head.status,
            has_retry_after: head.has_retry_after,
            since_due: due.elapsed(),
            since_sent: sent.elapsed(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile_ms(&times, 0.5), 50.0);
        assert_eq!(percentile_ms(&times, 0.99), 99.0);
        assert_eq!(percentile_ms(&[], 0.99), 0.0);
    }
}
