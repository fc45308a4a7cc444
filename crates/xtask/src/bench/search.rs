//! Search in a large tenant through the API, and how much of what exact search finds the service's way of searching finds.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use sqlx::postgres::PgConnection;

use super::http::{Caller, request};
use super::library::{Library, MODEL};
use super::load::{self, Pace, percentile_ms};
use super::platform::DATABASE;
use super::resident::text;
use super::{Bench, database, now};

/// Tenants side by side in one index, by records.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Among so many tenants, three share a partition, which there are eight of.
const CANDIDATES: usize = 17;
const PARTITIONS: usize = 8;
/// Results that recall is counted in.
const WANTED: i32 = 10;
/// A busy tenant's searches, and far from what two cores can answer: a percentile at saturation would tell how long the queue is.
const SEARCHES_PER_SECOND: f64 = 20.0;
const SEARCHERS: usize = 4;
/// As many searches at the same time tell what can be answered at most.
const PEAK_SEARCHERS: usize = 2;
/// What searches ask for: the next has one word more, up to so many.
const QUERY_WORDS: usize = 3;

/// Fills the index, then measures both.
pub(super) fn measure(bench: &mut Bench<'_>) -> Result<()> {
    // The same when quick: what a tenth of them cost says nothing about the goals.
    let tenants = neighbours(bench)?;
    let sized: Vec<_> = tenants.into_iter().zip(SIZES).collect();
    let mut library = Library::new();
    let started = now();
    crate::tree::say("filling the index");
    library.fill(bench.surroundings.admin_url(), &sized)?;
    crate::tree::say(&format!("  took {:.0} s", started.elapsed().as_secs_f64()));
    for (tenant_id, size) in &sized {
        crate::tree::say(&format!("comparing vectors of {size} records"));
        recall(bench, &mut library, (tenant_id, *size))?;
    }
    let (largest, size) = sized.last().context("there are three")?;
    let caller = bench.resident.caller_in(largest)?;
    let index = caller.get("/v1/search/status")?;
    let indexed = index
        .pointer("/data/documents")
        .and_then(serde_json::Value::as_u64);
    ensure!(
        indexed == Some(*size as u64),
        "the index holds something else: {index}"
    );
    for mode in ["hybrid", "keyword"] {
        crate::tree::say(&format!("searching {size} records, {mode}"));
        latency(bench, &mut library, (&caller, *size), mode)?;
    }
    Ok(())
}

fn latency(
    bench: &mut Bench<'_>,
    library: &mut Library,
    (caller, size): (&Caller, usize),
    mode: &str,
) -> Result<()> {
    let requests: Vec<_> = (0..600)
        .map(|n| {
            let body =
                json!({ "query": library.text(n % QUERY_WORDS + 1), "mode": mode, "limit": 10 });
            let content = ("application/json", body.to_string());
            request(
                "POST /v1/search",
                caller.token.as_deref(),
                Some((content.0, content.1.as_bytes())),
            )
        })
        .collect();
    let address = &bench.surroundings.address;
    load::closed(address, &requests, (100, PEAK_SEARCHERS), 200)?;
    let peak = load::closed(address, &requests, (200, PEAK_SEARCHERS), 200)?.per_second();
    let pace = Pace {
        per_second: SEARCHES_PER_SECOND,
        lasts: Duration::from_secs(bench.extent.pick(15, 30) as u64),
        connections: SEARCHERS,
    };
    let told = load::open(address, &requests, pace)?;
    ensure!(
        told.iter().all(|answer| answer.status == 200),
        "a search was refused"
    );
    let mut times: Vec<_> = told.iter().map(|answer| answer.since_due).collect();
    times.sort_unstable();
    let (p50, p99) = (percentile_ms(&times, 0.5), percentile_ms(&times, 0.99));
    let what = format!("search in {size} records, {mode}: 99th percentile (median)");
    let figure = format!("{p99:.1} ms ({p50:.1} ms)");
    bench.table.goal(&what, figure, "<= 20 ms", p99 <= 20.0);
    bench.table.row(
        &format!(
            "  at {SEARCHES_PER_SECOND:.0} a second; the most with {PEAK_SEARCHERS} at a time"
        ),
        format!("{peak:.0} / s"),
        "",
    );
    Ok(())
}

/// Tenants of the resident that share a partition, as many as there are sizes.
fn neighbours(bench: &Bench<'_>) -> Result<Vec<String>> {
    let caller = bench.resident.caller()?;
    let mut tenants = Vec::new();
    for n in 0..CANDIDATES {
        let body = json!({ "slug": format!("library-{n}"), "name": "Library" });
        tenants.push(text(&caller.post("/v1/tenants", &body)?, "/data/id")?);
    }
    let ids = tenants.join("', '");
    let query = format!(
        "select id::text, r from unnest(array['{ids}']::uuid[]) as id cross join generate_series(0, {}) as r
         where satisfies_hash_partition('search.embeddings'::regclass, {PARTITIONS}, r, id)",
        PARTITIONS - 1
    );
    let placed: Vec<(String, i32)> =
        database::rows(bench.surroundings.admin_url(), DATABASE, &query)?;
    let together = (0..PARTITIONS as i32).map(|partition| {
        let members = placed.iter().filter(|(_, at)| *at == partition);
        members.map(|(id, _)| id.clone()).collect::<Vec<_>>()
    });
    let fullest = together.max_by_key(Vec::len).unwrap_or_default();
    ensure!(
        fullest.len() >= SIZES.len(),
        "no three tenants share a partition"
    );
    Ok(fullest.into_iter().take(SIZES.len()).collect())
}

/// Asks `search.hybrid` as the service does, as its role.
fn recall(
    bench: &mut Bench<'_>,
    library: &mut Library,
    (tenant, size): (&str, usize),
) -> Result<()> {
    let queries = bench.extent.pick(50, 200);
    let mode = mode_of(bench, tenant)?;
    let url = bench.surroundings.setting("SEARCH_DB_URL")?;
    let (found, rows, times) = database::block_on(async {
        let mut connection = database::open(url, DATABASE).await?;
        sqlx::query("select set_config('app.tenant_id', $1, false)")
            .bind(tenant)
            .execute(&mut connection)
            .await?;
        let (mut found, mut rows, mut times) = (0, usize::MAX, Vec::new());
        for _ in 0..queries {
            let vector = library.vector();
            let started = now();
            let ours = nearest(&mut connection, &vector, &mode).await?;
            times.push(started.elapsed());
            let best = nearest(&mut connection, &vector, "exact").await?;
            rows = rows.min(ours.len());
            found += ours.intersection(&best).count();
        }
        Ok((found, rows, times))
    })?;
    let mut times = times;
    times.sort_unstable();
    let recall = found as f64 / (queries * WANTED as usize) as f64;
    let table = &mut bench.table;
    table.goal(
        &format!(
            "recall@10 of vectors, tenant of {size} ({mode}, median {:.1} ms)",
            percentile_ms(&times, 0.5)
        ),
        format!("{recall:.3}"),
        ">= 0.98",
        recall >= 0.98,
    );
    let wanted = size.min(WANTED as usize);
    table.goal(
        "  fewest rows found",
        format!("{rows}"),
        "10",
        rows == wanted,
    );
    Ok(())
}

/// How the service searches this tenant, by its own word.
fn mode_of(bench: &Bench<'_>, tenant: &str) -> Result<String> {
    let caller = bench.resident.caller_in(tenant)?;
    let body = json!({ "query": "anything", "mode": "vector", "limit": 10 });
    text(&caller.post("/v1/search", &body)?, "/meta/vectorMode")
}

async fn nearest(
    connection: &mut PgConnection,
    vector: &[f32],
    mode: &str,
) -> Result<BTreeSet<String>> {
    let query =
        "select document_id::text from search.hybrid('', $1, '', '', '[]', false, $2, $3, $4)";
    let found: Vec<String> = sqlx::query_scalar(query)
        .bind(vector)
        .bind(mode)
        .bind(MODEL)
        .bind(WANTED)
        .fetch_all(connection)
        .await?;
    Ok(found.into_iter().collect())
}
