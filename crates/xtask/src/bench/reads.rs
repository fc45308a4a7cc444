//! Reads of one record and lists of 25: through the whole platform, by Fastify, and by PostgreSQL alone with the same statement.

use anyhow::Result;

use super::fastify::Fastify;
use super::http::request;
use super::load::{self, Closed};
use super::platform::{Platform, Spent};
use super::table::Table;
use super::{Bench, middle_of, pgbench};

/// One round of requests.
pub(super) struct Round {
    pub(super) spent: Spent,
    pub(super) load: Closed,
}

/// Rounds of each, in turn.
#[derive(Default)]
struct Rounds {
    reads: Vec<Round>,
    lists: Vec<Round>,
    fastify: Vec<Round>,
    alone: Vec<pgbench::Round>,
}

/// The path of the records that are read and written.
pub(super) const RECORDS: &str = "/v1/niches/software-catalog/packages/records";

/// Measures all of them and puts them into the table.
pub(super) fn measure(bench: &mut Bench<'_>, platform: &Platform) -> Result<()> {
    let reads = prepare(bench)?;
    let token = bench.resident.caller()?.token;
    let list = vec![request(
        &format!("GET {RECORDS}?limit=25"),
        token.as_deref(),
        None,
    )];
    bench.warm_up(&list)?;
    bench.warm_up(&reads)?;
    let statement = pgbench::read_statement(bench)?;
    let fastify = Fastify::start(bench.surroundings, token.as_deref().unwrap_or_default())?;
    load::closed(
        &fastify.address,
        &reads,
        (5_000, bench.extent.connections),
        200,
    )?;
    let address = &bench.surroundings.address;
    let mut rounds = Rounds::default();
    for _ in 0..bench.extent.rounds() {
        let count = bench.extent.requests();
        let own = (address.as_str(), platform.pid());
        rounds.reads.push(round(bench, own, &reads, count)?);
        let theirs = (fastify.address.as_str(), fastify.pid());
        rounds.fastify.push(round(bench, theirs, &reads, count)?);
        rounds.lists.push(round(bench, own, &list, count / 2)?);
        rounds.alone.push(pgbench::round(bench, &statement)?);
    }
    rounds.tell(bench);
    Ok(())
}

impl Rounds {
    fn tell(&self, bench: &mut Bench<'_>) {
        let all = |rounds: &[Round]| middle_of(rounds, |round| round.spent.answering());
        let (read, list, fastify) = (all(&self.reads), all(&self.lists), all(&self.fastify));
        let table = &mut bench.table;
        table.goal(
            "read by id: processor time per request, all processes",
            format!("{read:.0} us"),
            "<= 185 us",
            read <= 185.0,
        );
        tell_parts(table, &self.reads, "the platform");
        let ratio = middle_of(&self.pairs(), |(ours, theirs)| ours / theirs);
        table.row(
            "Node, Fastify and pg, the same read",
            format!("{fastify:.0} us"),
            "",
        );
        tell_parts(table, &self.fastify, "Node");
        table.goal(
            "  the platform's read is so many times that",
            format!("{ratio:.2}"),
            "<= 0.60",
            ratio <= 0.6,
        );
        let alone = middle_of(&self.alone, |round| round.postgres_us);
        table.row(
            "PostgreSQL alone, same statement (pgbench)",
            format!("{alone:.0} us"),
            "",
        );
        table.row(
            "  the platform's read is so many times that",
            format!("{:.1}", read / alone),
            "",
        );
        for (what, rounds) in [("platform", &self.reads), ("Fastify", &self.fastify)] {
            let rate = middle_of(rounds, |round| round.load.per_second());
            let p50 = middle_of(rounds, |round| round.load.percentile_ms(0.5));
            let p99 = middle_of(rounds, |round| round.load.percentile_ms(0.99));
            table.row(
                &format!("reads per second, {what} (median and 99th percentile to answer)"),
                format!("{rate:.0} ({p50:.2}, {p99:.2} ms)"),
                "",
            );
        }
        let rate = middle_of(&self.alone, |round| round.per_second);
        table.row(
            "reads per second, PostgreSQL alone",
            format!("{rate:.0}"),
            "",
        );
        table.row("list of 25", format!("{list:.0} us"), "");
        tell_parts(table, &self.lists, "the platform");
        table.goal(
            "  so many times a read",
            format!("{:.2}", list / read),
            "<= 1.50",
            list / read <= 1.5,
        );
    }

    /// Each round of ours with the round of theirs that followed it.
    fn pairs(&self) -> Vec<(f64, f64)> {
        let ours = self.reads.iter().map(|round| round.spent.answering());
        let theirs = self.fastify.iter().map(|round| round.spent.answering());
        ours.zip(theirs).collect()
    }
}

/// One row for each process that answers.
pub(super) fn tell_parts(table: &mut Table, rounds: &[Round], server: &str) {
    type Part = fn(&Spent) -> f64;
    let parts: [(&str, Part); 3] = [
        (server, |spent| spent.server),
        ("PostgreSQL", |spent| spent.postgres),
        ("Redis", |spent| spent.redis),
    ];
    for (name, part) in parts {
        let figure = middle_of(rounds, |round| part(&round.spent));
        table.row(&format!("  of it {name}"), format!("{figure:.0} us"), "");
    }
}

/// Reads of each of the resident's records.
pub(super) fn prepare(bench: &Bench<'_>) -> Result<Vec<Vec<u8>>> {
    let caller = bench.resident.caller()?;
    let ids = bench.resident.record_ids.iter();
    Ok(ids
        .map(|id| {
            request(
                &format!("GET {RECORDS}/{id}"),
                caller.token.as_deref(),
                None,
            )
        })
        .collect())
}

/// Loads a server and answers what each request cost.
pub(super) fn round(
    bench: &Bench<'_>,
    (address, pid): (&str, u32),
    requests: &[Vec<u8>],
    count: usize,
) -> Result<Round> {
    let servers = bench.surroundings.servers()?;
    let before = Spent::so_far(pid, servers);
    let load = load::closed(address, requests, (count, bench.extent.connections), 200)?;
    let spent = Spent::so_far(pid, servers).since(before, load.latencies.len() as f64);
    Ok(Round { spent, load })
}
