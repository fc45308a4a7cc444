//! Records created one by one: what the request costs until it is answered, and what follows from it afterwards.
//!
//! The two are told apart by taking the broker away: then a create writes its record, its event and its audit entry as ever, and nothing
//! follows. With the broker, everything is counted until the last event has had its effects; what is spent anyway is taken off.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::http::request;
use super::load;
use super::platform::{DATABASE, Platform, Spent};
use super::reads::{RECORDS, Round, tell_parts};
use super::{Bench, database, middle_of, now, patiently, pause};

/// Nobody listens there.
const NO_BROKER: &str = "amqp://guest:guest@127.0.0.1:1/%2f";
const SETTLE_PATIENCE: Duration = Duration::from_secs(180);
const STEP: Duration = Duration::from_millis(200);
/// How long the platform is watched doing nothing.
const IDLE: Duration = Duration::from_secs(3);

/// Measures both; answers the platform that runs afterwards.
pub(super) fn measure(bench: &mut Bench<'_>, platform: Platform) -> Result<Platform> {
    platform.stop()?;
    let count = bench.extent.requests() / 4;
    let platform = Platform::start(bench.surroundings, &[("AMQP_URL", NO_BROKER)])?.0;
    round(bench, &platform, ("warm", count / 2))?;
    let mut rounds = Vec::new();
    for n in 0..bench.extent.rounds() {
        rounds.push(round(bench, &platform, (&format!("now-{n}"), count))?);
    }
    platform.stop()?;
    let all = middle_of(&rounds, |round| round.spent.answering());
    let table = &mut bench.table;
    table.goal(
        "record created, with event and audit entry: processor time",
        format!("{all:.0} us"),
        "<= 600 us",
        all <= 600.0,
    );
    tell_parts(table, &rounds, "the platform");
    let rate = middle_of(&rounds, |round| round.load.per_second());
    let p99 = middle_of(&rounds, |round| round.load.percentile_ms(0.99));
    table.row(
        "  created per second (99th percentile to answer)",
        format!("{rate:.0} ({p99:.2} ms)"),
        "",
    );
    let platform = Platform::start(bench.surroundings, &[])?.0;
    settle(bench)?;
    afterwards(bench, &platform, (count, all))?;
    Ok(platform)
}

/// Creates with the broker, until all effects are there.
fn afterwards(
    bench: &mut Bench<'_>,
    platform: &Platform,
    (count, at_once): (usize, f64),
) -> Result<()> {
    round(bench, platform, ("warm-later", count / 2))?;
    settle(bench)?;
    let servers = bench.surroundings.servers()?;
    let idle = Spent::so_far(platform.pid(), servers);
    pause(IDLE);
    let idle = Spent::so_far(platform.pid(), servers).since(idle, IDLE.as_secs_f64());
    let mut rounds = Vec::new();
    let mut lags = Vec::new();
    for n in 0..bench.extent.rounds().div_ceil(2) {
        let before = Spent::so_far(platform.pid(), servers);
        let started = now();
        let made = round(bench, platform, (&format!("later-{n}"), count))?;
        let answered = started.elapsed();
        settle(bench)?;
        let took = started.elapsed();
        lags.push((took - answered).as_secs_f64());
        let spent = Spent::so_far(platform.pid(), servers).since(before, count as f64);
        rounds.push(Round {
            spent: spent.less(idle, took.as_secs_f64() / count as f64),
            load: made.load,
        });
    }
    let all = middle_of(&rounds, |round| round.spent.all());
    bench.table.row(
        "  with all that follows: relayed, audit stored, indexed, embedded",
        format!("{all:.0} us"),
        "",
    );
    tell_parts(&mut bench.table, &rounds, "the platform");
    let broker = middle_of(&rounds, |round| round.spent.rabbitmq);
    bench
        .table
        .row("  of it RabbitMQ", format!("{broker:.0} us"), "");
    bench.table.row(
        "  of it later",
        format!("{:.0} us", (all - at_once).max(0.0)),
        "",
    );
    let lag = middle_of(&lags, |lag| *lag);
    bench.table.row(
        &format!("  complete after the last of {count} answers by"),
        format!("{lag:.1} s"),
        "",
    );
    Ok(())
}

/// Creates `count` records whose names begin with `name`.
fn round(bench: &Bench<'_>, platform: &Platform, (name, count): (&str, usize)) -> Result<Round> {
    let token = bench.resident.caller()?.token;
    let requests: Vec<_> = (0..count)
        .map(|n| {
            let body = json!({ "data": {
                "name": format!("{name}-{n}"), "version": "1.0-1", "section": "utils",
                "homepage": "https://example.org/made", "summary": "a package that was just made",
            } });
            request(
                &format!("POST {RECORDS}"),
                token.as_deref(),
                Some(("application/json", body.to_string().as_bytes())),
            )
        })
        .collect();
    let servers = bench.surroundings.servers()?;
    let before = Spent::so_far(platform.pid(), servers);
    let connections = bench.extent.connections;
    let address = &bench.surroundings.address;
    let load = load::closed(address, &requests, (count, connections), 201)?;
    let spent = Spent::so_far(platform.pid(), servers).since(before, count as f64);
    Ok(Round { spent, load })
}

/// Waits until each record that was created is in the audit log and in the index, and no event waits anywhere.
fn settle(bench: &Bench<'_>) -> Result<()> {
    let query = "select (select count(*) from niche.records where tenant_id = '{tenant}') = (select count(*) from tenant.audit_logs where tenant_id = '{tenant}' and action = 'records.create') \
                 and not exists (select from niche.outbox) and not exists (select from search.outbox) \
                 and (select count(*) from niche.records where tenant_id = '{tenant}') = (select count(*) from search.embeddings where tenant_id = '{tenant}')"
        .replace("{tenant}", &bench.resident.tenant_id);
    let settled = patiently(SETTLE_PATIENCE, STEP, || {
        let admin = bench.surroundings.admin_url();
        let rows: Vec<(bool,)> = database::rows(admin, DATABASE, &query)?;
        Ok(rows.first().is_some_and(|row| row.0).then_some(()))
    })?;
    settled.context("not every record was audited and indexed")
}
