//! What an operator watches: how long the database takes, who waits for a connection, what is slow, and errors by SQLSTATE.
//!
//! Labels are made once for each handle, so that a measurement allocates nothing. No label and no line holds SQL, a parameter or a tenant.

use std::panic::Location;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use kernel::{Clock, RequestContext};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};
use runtime::LATENCY_BUCKETS_S;

use crate::pool::{Pool, WeakPool};

/// The message of `app.no_tenant()`.
const TENANT_MISSING: &str = "tenant context missing";

struct Counters {
    errors: Counter<u64>,
    tenant_missing: Counter<u64>,
}

fn counters() -> &'static Counters {
    static COUNTERS: OnceLock<Counters> = OnceLock::new();
    COUNTERS.get_or_init(|| {
        let meter = opentelemetry::global::meter("db");
        Counters {
            errors: meter
                .u64_counter("db.client.operation.errors")
                .with_description("failed statements by SQLSTATE, or by the driver's kind of failure")
                .build(),
            tenant_missing: meter
                .u64_counter("db.tenant_context.missing")
                .with_description("statements on a tenant's table without a tenant: a bug, and more than none is an alert")
                .build(),
        }
    })
}

/// Counts a failed statement.
pub(crate) fn failed(error: &sqlx::Error) {
    let counters = counters();
    let code = match error {
        sqlx::Error::Database(error) => error
            .code()
            .map_or("unknown".to_owned(), |code| code.into_owned()),
        sqlx::Error::PoolTimedOut => "pool_timeout".to_owned(),
        sqlx::Error::Io(_) => "io".to_owned(),
        _ => "driver".to_owned(),
    };
    if code == "42501"
        && error
            .as_database_error()
            .is_some_and(|error| error.message() == TENANT_MISSING)
    {
        counters.tenant_missing.add(1, &[]);
    }
    counters
        .errors
        .add(1, &[KeyValue::new("db.response.status_code", code)]);
}

/// What one handle measures.
pub(crate) struct Measure {
    clock: Clock,
    schema: String,
    slow_after: Duration,
    duration: Histogram<f64>,
    wait: Histogram<f64>,
    slow: Counter<u64>,
    read: [KeyValue; 2],
    write: [KeyValue; 2],
    transaction: [KeyValue; 2],
    commit: [KeyValue; 2],
    pool: [KeyValue; 1],
}

impl Measure {
    pub(crate) fn new(schema: &str, slow_after: Duration, clock: Clock) -> Self {
        let meter = opentelemetry::global::meter("db");
        let namespace = KeyValue::new("db.namespace", schema.to_owned());
        let operation =
            |name: &'static str| [KeyValue::new("db.operation.name", name), namespace.clone()];
        let seconds = |name: &'static str, description: &'static str| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(description)
                .with_boundaries(LATENCY_BUCKETS_S.to_vec())
                .build()
        };
        Self {
            clock,
            schema: schema.to_owned(),
            slow_after,
            duration: seconds(
                "db.client.operation.duration",
                "how long reads, writes of one statement, transactions (from BEGIN to their end) and commits took",
            ),
            wait: seconds(
                "db.client.connection.wait_time",
                "how long was waited for a connection",
            ),
            slow: meter
                .u64_counter("db.client.operation.slow")
                .with_description(
                    "reads, writes and transactions that took longer than <SVC>_DB_SLOW_MS",
                )
                .build(),
            read: operation("read"),
            write: operation("write"),
            transaction: operation("transaction"),
            commit: operation("commit"),
            pool: [namespace.clone()],
        }
    }

    pub(crate) fn instant(&self) -> Instant {
        self.clock.instant()
    }

    /// Somebody has waited for a connection from `since` on, and has one now or gives up. Answers this moment.
    pub(crate) fn waited(&self, since: Instant) -> Instant {
        let now = self.instant();
        self.wait.record((now - since).as_secs_f64(), &self.pool);
        now
    }

    pub(crate) fn committed(&self, since: Instant) {
        let took = self.instant() - since;
        self.duration.record(took.as_secs_f64(), &self.commit);
    }

    /// `statement` is the place in the source that wrote the statement.
    pub(crate) fn read(&self, since: Instant, statement: &'static Location<'static>) {
        self.single(since, ("read", &self.read), statement);
    }

    /// The same of a command of one statement.
    pub(crate) fn write(&self, since: Instant, statement: &'static Location<'static>) {
        self.single(since, ("write", &self.write), statement);
    }

    fn single(
        &self,
        since: Instant,
        (operation, labels): (&str, &[KeyValue]),
        statement: &'static Location<'static>,
    ) {
        let took = self.instant() - since;
        self.duration.record(took.as_secs_f64(), labels);
        if took >= self.slow_after {
            self.slow.add(1, labels);
            tracing::warn!(
                schema = self.schema,
                operation,
                statement = %statement,
                took_ms = millis(took),
                "slow database operation"
            );
        }
    }

    fn transaction(&self, since: Instant, method: &str) {
        let took = self.instant() - since;
        self.duration.record(took.as_secs_f64(), &self.transaction);
        if took >= self.slow_after {
            self.slow.add(1, &self.transaction);
            tracing::warn!(
                schema = self.schema,
                operation = "transaction",
                method,
                took_ms = millis(took),
                "slow database operation"
            );
        }
    }
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// Lasts as long as a transaction and measures it at its end, whichever that is.
pub(crate) struct Held {
    measure: Arc<Measure>,
    ctx: RequestContext,
    since: Instant,
}

impl Held {
    pub(crate) fn new(measure: &Arc<Measure>, ctx: &RequestContext, since: Instant) -> Self {
        Self {
            measure: Arc::clone(measure),
            ctx: ctx.clone(),
            since,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.measure.transaction(self.since, self.ctx.method());
    }
}

/// How a pool is used at one moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct PoolUse {
    /// Connections that serve somebody.
    pub(crate) used: u64,
    /// Open connections that wait for somebody.
    pub(crate) idle: u64,
    /// How many there can be.
    pub(crate) max: u64,
}

/// All pools of the process: a service and its worker may share one and have a pool each.
static POOLS: Mutex<Vec<(String, WeakPool)>> = Mutex::new(Vec::new());

/// Shows the use of a service's pools from now on.
pub(crate) fn watch(pool: &Pool, schema: &str) {
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    pools.retain(|(_, pool)| pool.observe().is_some());
    pools.push((schema.to_owned(), pool.weak()));
    drop(pools);
    let meter = opentelemetry::global::meter("db");
    let namespace = KeyValue::new("db.namespace", schema.to_owned());
    let state = |state: &'static str| {
        [
            KeyValue::new("db.client.connection.state", state),
            namespace.clone(),
        ]
    };
    let (used, idle, max) = (state("used"), state("idle"), [namespace.clone()]);
    let (of_count, of_max) = (schema.to_owned(), schema.to_owned());
    // The provider keeps the callbacks, so the instruments themselves are not needed. A second pool of the same service registers them
    // again, which observes the same sums twice.
    let _ = meter
        .u64_observable_gauge("db.client.connection.count")
        .with_description(
            "connections by state: those that serve somebody right now, and those that wait",
        )
        .with_callback(move |observer| {
            let sum = in_all_pools_of(&of_count);
            observer.observe(sum.used, &used);
            observer.observe(sum.idle, &idle);
        })
        .build();
    let _ = meter
        .u64_observable_gauge("db.client.connection.max")
        .with_description("how many connections there can be")
        .with_callback(move |observer| observer.observe(in_all_pools_of(&of_max).max, &max))
        .build();
}

fn in_all_pools_of(schema: &str) -> PoolUse {
    let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let of_schema = pools.iter().filter(|(name, _)| name == schema);
    of_schema
        .filter_map(|(_, pool)| pool.observe())
        .fold(PoolUse::default(), |sum, pool| PoolUse {
            used: sum.used + pool.used,
            idle: sum.idle + pool.idle,
            max: sum.max + pool.max,
        })
}
