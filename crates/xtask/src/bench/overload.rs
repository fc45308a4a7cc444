//! Three times as many requests as can be served: the rest must be refused at once, and what is served must stay served.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::load::{self, Pace, Told, percentile_ms};
use super::{Bench, middle_of, reads};

/// Beyond capacity by this factor.
const FACTOR: f64 = 3.0;
/// Many callers, or a slow answer would keep the pace down.
const CALLERS: usize = 1_500;
/// Callers who can keep the platform busy.
const BUSY_CALLERS: usize = 32;

struct Round {
    peak: f64,
    offered: f64,
    served: f64,
    served_p99_ms: f64,
    refused_p99_ms: f64,
    unexplained: usize,
}

/// Measures the peak and then the overload, in turn.
pub(super) fn measure(bench: &mut Bench<'_>) -> Result<()> {
    let requests = reads::prepare(bench)?;
    bench.warm_up(&requests)?;
    let mut rounds = Vec::new();
    for _ in 0..bench.extent.rounds().div_ceil(2) {
        rounds.push(round(bench, &requests)?);
    }
    let of = |figure: fn(&Round) -> f64| middle_of(&rounds, figure);
    let share = middle_of(&rounds, |round| round.served / round.peak);
    let (peak, offered) = (of(|round| round.peak), of(|round| round.offered));
    let refused = of(|round| round.refused_p99_ms);
    let unexplained = rounds.iter().map(|round| round.unexplained).sum::<usize>();
    let served = of(|round| round.served);
    let p99 = of(|round| round.served_p99_ms);
    let table = &mut bench.table;
    table.row(
        "overload: reads per second at the peak, then offered",
        format!("{peak:.0}, {offered:.0}"),
        "",
    );
    table.goal(
        "  served of the peak (99th percentile to answer)",
        format!("{served:.0}, {:.0} % ({p99:.0} ms)", share * 100.0),
        ">= 80 %",
        share >= 0.8,
    );
    table.goal(
        "  refused: 99th percentile to answer",
        format!("{refused:.0} ms"),
        "<= 100 ms",
        refused <= 100.0,
    );
    table.goal(
        "  refused without Retry-After, or failed otherwise",
        format!("{unexplained}"),
        "0",
        unexplained == 0,
    );
    Ok(())
}

fn round(bench: &Bench<'_>, requests: &[Vec<u8>]) -> Result<Round> {
    let address = &bench.surroundings.address;
    let lasts = Duration::from_secs(bench.extent.pick(2, 6) as u64);
    // More than can be served by as few callers as each wait for their answer: the peak.
    let at_peak = Pace {
        per_second: 1e6,
        lasts,
        connections: BUSY_CALLERS,
    };
    let told = load::open(address, requests, at_peak)?;
    ensure!(
        told.iter().all(|answer| answer.status == 200),
        "a read at the peak was refused"
    );
    let peak = told.len() as f64 / lasts.as_secs_f64();
    let pace = Pace {
        per_second: peak * FACTOR,
        lasts,
        connections: CALLERS,
    };
    let told = load::open(address, requests, pace)?;
    let times = |wanted: fn(&Told) -> bool| {
        let mut times: Vec<_> = told
            .iter()
            .filter(|answer| wanted(answer))
            .map(|answer| answer.since_sent)
            .collect();
        times.sort_unstable();
        times
    };
    let served = times(|answer| answer.status == 200);
    let refused = times(|answer| matches!(answer.status, 429 | 503) && answer.has_retry_after);
    Ok(Round {
        peak,
        offered: told.len() as f64 / lasts.as_secs_f64(),
        served: served.len() as f64 / lasts.as_secs_f64(),
        served_p99_ms: percentile_ms(&served, 0.99),
        refused_p99_ms: percentile_ms(&refused, 0.99),
        unexplained: told.len() - served.len() - refused.len(),
    })
}
