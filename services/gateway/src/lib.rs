//! The gateway: the only public port of the platform.
//!
//! It is generic. The route table, the transcoding and the documentation come from the descriptors of the contract; nothing here knows
//! a tenant, a record or a kit. A request passes these files in this order:
//!
//! 1. [`server`] and [`conn`] accept it, [`handle`] routes it, dresses the answer and writes the log line;
//! 2. [`call`] runs it: [`authn`] (who), [`limits`] (how often), [`intake`] (body), [`transcode`] (to protobuf);
//! 3. [`upstream`] calls the service; [`uploads`] and [`streams`] do so for bodies and answers that go on;
//! 4. [`transcode`] turns the answer into JSON, [`problem`] turns a failure into one.
//!
//! It keeps nothing durable: any number of gateways may run side by side.

pub mod arrival;
pub mod authn;
mod browsers;
mod call;
mod compress;
pub mod config;
mod conn;
mod handle;
mod intake;
pub mod limits;
pub mod openapi;
mod pages;
pub mod problem;
pub mod routes;
mod seats;
mod server;
mod spans;
mod streams;
pub mod strict_json;
mod texts;
pub mod transcode;
mod uploads;
pub mod upstream;

use std::sync::Arc;

use anyhow::Context as _;
use opentelemetry::KeyValue;
use runtime::{Process, Reader};

pub use config::Config;

use authn::Authn;
use handle::Shared;
use limits::Limits;
use seats::{SEATS, Seats};
use upstream::Links;

/// The binary's `serve`: reads the environment, binds the port, runs.
pub async fn serve(process: Process) -> anyhow::Result<()> {
    let mut reader = Reader::from_env();
    let config = Config::read(&mut reader);
    reader.finish()?;
    let listen = &config.http_listen;
    let listener = std::net::TcpListener::bind(listen).with_context(|| {
        format!("cannot listen on {listen} (GATEWAY_HTTP_LISTEN); is it taken by another process?")
    })?;
    run(config, listener, process).await
}

/// Serves HTTP on `listener` until the process ends.
///
/// Starts with every service and Redis down: requests that need them fail with 503, limits are counted by the process alone.
pub async fn run(
    config: Config,
    listener: std::net::TcpListener,
    process: Process,
) -> anyhow::Result<()> {
    let table = routes::table();
    let links = Arc::new(Links::new(
        &config.upstreams,
        &config.keyring,
        &process.clock,
    )?);
    upstream::check(&links, &table.methods)?;
    let cache = cache::Cache::connect(&config.cache, process.clock.clone())
        .map_err(|error| anyhow::anyhow!(error.chain()))?;
    let limiter = cache.rate_limiter(config.replicas);
    process.tasks.spawn(
        "gateway.limits",
        limiter.clone().keep_settling(process.shutdown.clone()),
    );
    let authn = Arc::new(Authn::new(
        process.clock.clone(),
        process.tasks.clone(),
        config.access_silence_max,
    ));
    follow_access(&process, &links, &authn)?;
    observe_lookups(&process, &authn);
    let durations = process
        .metrics
        .meter("gateway")
        .f64_histogram("http.server.request.duration")
        .with_unit("s")
        .with_boundaries(LATENCY_BUCKETS_S.to_vec())
        .with_description("time from a request's head to its answer's head")
        .build();
    let services = config.upstreams.all().map(|(name, _)| name);
    let shared = Shared {
        seats: Seats::new(services, SEATS),
        limits: Limits::new(limiter, config.rate_limit_factor),
        browsers: browsers::Browsers::new(config.cors_origins.clone(), config.behind_tls),
        pages: pages::Pages::new(process.profile),
        authn,
        durations,
        config,
        process,
    };
    tracing::info!(address = %listener.local_addr().context("the public port")?, "gateway listens");
    shared.process.health.started();
    let shared = Arc::new(shared);
    let told = Arc::clone(&shared);
    shared.process.tasks.spawn("gateway.seats", async move {
        told.seats.keep_telling(&told.process.shutdown).await;
    });
    server::serve(shared, links, listener).await
}

/// The cache of callers: how often it spared auth a question.
fn observe_lookups(process: &Process, authn: &Arc<Authn>) {
    let authn = Arc::clone(authn);
    process
        .metrics
        .meter("gateway")
        .u64_observable_counter("access.lookups")
        .with_description(
            "credentials looked up, by whether the caller was remembered or auth was asked",
        )
        .with_callback(move |observer| {
            observer.observe(authn.remembered(), &[KeyValue::new("outcome", "hit")]);
            observer.observe(authn.asked(), &[KeyValue::new("outcome", "miss")]);
        })
        .build();
}

/// Seconds: from a cached answer to the longest deadline, as everywhere on the platform.
const LATENCY_BUCKETS_S: [f64; 13] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

fn follow_access(process: &Process, links: &Links, authn: &Arc<Authn>) -> anyhow::Result<()> {
    let auth = links
        .open()
        .get("auth")
        .map_err(|error| anyhow::anyhow!(error.chain()))?
        .clone();
    let (shutdown, followed) = (process.shutdown.clone(), Arc::clone(authn));
    process.tasks.spawn("gateway.access", async move {
        shutdown.or(authn::follow(followed, auth)).await;
    });
    let watched = Arc::clone(authn);
    process.health.register("auth", move || {
        let is_current = watched.is_current();
        async move {
            if is_current {
                Ok(())
            } else {
                Err("no word from auth".to_owned())
            }
        }
    });
    Ok(())
}
