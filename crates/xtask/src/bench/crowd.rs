//! Ten tenants against ten thousand: each with a person, a session and a record of its own, and all of them asking in turn.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::http::request;
use super::load::{self, Closed};
use super::platform::{DATABASE, Platform, Spent};
use super::reads::RECORDS;
use super::tokens::Mint;
use super::{Bench, database};

const FEW: usize = 10;
const MANY: usize = 10_000;
/// What is known of a caller is renewed every fifty seconds; a run of many tenants lasts longer, so that the renewals are in it.
const LASTS: Duration = Duration::from_secs(60);

/// One row for each new tenant.
const FILL: &str = "
    create temporary table crowd as
    select n, md5('tenant ' || n)::uuid as tenant_id, md5('person ' || n)::uuid as user_id,
           md5('session ' || n)::uuid as session_id, md5('record ' || n)::uuid as record_id
    from generate_series(1, {many}) as n;
    insert into auth.users (id, email, name, locale, created_at, updated_at)
    select user_id, 'person-' || n || '@example.com', 'Person', 'en', now(), now() from crowd;
    insert into auth.sessions (id, user_id, created_at, expires_at, ip, network_key, user_agent)
    select session_id, user_id, now(), now() + interval '1 day', '127.0.0.1', 'x', 'bench' from crowd;
    insert into auth.tenants (tenant_id, slug, name, status, entitled_actions, version, created_at, updated_at)
    select c.tenant_id, 'crowd-' || n, 'Crowd', 'active', t.entitled_actions, 1, now(), now()
    from crowd c cross join auth.tenants t where t.tenant_id = '{model}';
    insert into auth.memberships (tenant_id, user_id, created_at, updated_at)
    select tenant_id, user_id, now(), now() from crowd;
    insert into auth.groups (tenant_id, id, role, name, created_at, updated_at)
    select tenant_id, tenant_id, 'owner', 'owner', now(), now() from crowd;
    insert into auth.group_members (tenant_id, group_id, user_id, created_at)
    select tenant_id, tenant_id, user_id, now() from crowd;
    insert into niche.records (tenant_id, id, niche, entity, data, version, created_at, updated_at)
    select c.tenant_id, c.record_id, r.niche, r.entity, r.data, 1, now(), now()
    from crowd c cross join (select * from niche.records where tenant_id = '{model}' limit 1) r;
    analyze auth.users, auth.sessions, auth.tenants, auth.memberships, auth.groups, auth.group_members, niche.records;
";
const CALLERS: &str = "
    select md5('tenant ' || n)::uuid::text, md5('person ' || n)::uuid::text, md5('session ' || n)::uuid::text, md5('record ' || n)::uuid::text
    from generate_series(1, {many}) as n";

struct Round {
    spent: Spent,
    load: Closed,
}

/// Measures few tenants, many, and few again; answers the platform that runs afterwards.
pub(super) fn measure(bench: &mut Bench<'_>, platform: Platform) -> Result<Platform> {
    // The same when quick: a thousand would fit wherever ten do.
    let many = MANY;
    crate::tree::say("filling the tenants");
    let requests = prepare(bench, many)?;
    let (few, many_requests) = (&requests[..FEW], &requests[..]);
    bench.warm_up(few)?;
    let seconds = LASTS.as_secs_f64();
    crate::tree::say(&format!("reading for {:.0} s", seconds * 4.0 / 3.0));
    let before = round(bench, &platform, few, seconds / 6.0)?;
    // Everybody has called once.
    load::closed(
        &bench.surroundings.address,
        many_requests,
        (many, bench.extent.connections),
        200,
    )?;
    let crowd = round(bench, &platform, many_requests, seconds)?;
    let after = round(bench, &platform, few, seconds / 6.0)?;
    let few = [before, after];
    let mean = |figure: fn(&Round) -> f64| (figure(&few[0]) + figure(&few[1])) / 2.0;
    type Figure = fn(&Round) -> f64;
    let figures: [(&str, &str, Figure); 3] = [
        ("processor time", "us", |round| round.spent.answering()),
        ("median", "ms", |round| round.load.percentile_ms(0.5)),
        ("99th percentile", "ms", |round| {
            round.load.percentile_ms(0.99)
        }),
    ];
    for (what, unit, figure) in figures {
        let (few, crowd) = (mean(figure), figure(&crowd));
        let ratio = crowd / few;
        let figure = format!("{ratio:.2} ({crowd:.2} / {few:.2} {unit})");
        let what = format!("{many} tenants against {FEW}: {what} of a read");
        bench.table.goal(&what, figure, "<= 1.20", ratio <= 1.2);
    }
    let parts = |part: fn(&Round) -> f64| format!("{:.0} / {:.0}", part(&crowd), mean(part));
    let [server, postgres, redis] = [
        parts(|round| round.spent.server),
        parts(|round| round.spent.postgres),
        parts(|round| round.spent.redis),
    ];
    bench.table.row(
        "  of it the platform, PostgreSQL, Redis",
        format!("{server}, {postgres}, {redis} us"),
        "",
    );
    Ok(platform)
}

/// Loads for about `seconds`.
fn round(
    bench: &Bench<'_>,
    platform: &Platform,
    requests: &[Vec<u8>],
    seconds: f64,
) -> Result<Round> {
    let address = &bench.surroundings.address;
    let connections = bench.extent.connections;
    let probe = load::closed(address, requests, (2_000, connections), 200)?;
    let count = (probe.per_second() * seconds) as usize;
    let servers = bench.surroundings.servers()?;
    let before = Spent::so_far(platform.pid(), servers);
    let load = load::closed(address, requests, (count, connections), 200)?;
    let spent = Spent::so_far(platform.pid(), servers).since(before, count as f64);
    Ok(Round { spent, load })
}

/// Fills the database and signs a token for everybody.
fn prepare(bench: &Bench<'_>, many: usize) -> Result<Vec<Vec<u8>>> {
    let surroundings = bench.surroundings;
    let admin = surroundings.admin_url();
    let fill = FILL
        .replace("{many}", &many.to_string())
        .replace("{model}", &bench.resident.tenant_id);
    database::run(admin, DATABASE, &fill)?;
    let query = CALLERS.replace("{many}", &many.to_string());
    let callers: Vec<(String, String, String, String)> = database::rows(admin, DATABASE, &query)?;
    let token = bench.resident.caller()?.token.context("signed in")?;
    let mint = Mint::new(&surroundings.signing_key(), &token)?;
    let sign = |part: &[(String, String, String, String)]| {
        part.iter()
            .map(|(tenant, user, session, record)| {
                let token = mint.token([("tenantId", tenant), ("sub", user), ("sid", session)])?;
                let line = format!("GET {RECORDS}/{record}");
                Ok(request(&line, Some(&token), None))
            })
            .collect::<Result<Vec<_>>>()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let parts = std::thread::scope(|scope| {
        let signing: Vec<_> = callers
            .chunks(many.div_ceil(cores))
            .map(|part| scope.spawn(|| sign(part)))
            .collect();
        let join = |part: std::thread::ScopedJoinHandle<'_, Result<Vec<Vec<u8>>>>| {
            part.join().expect("signing does not panic")
        };
        signing.into_iter().map(join).collect::<Result<Vec<_>>>()
    });
    Ok(parts?.concat())
}
