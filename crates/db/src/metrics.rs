//! What an operator watches: connections in use, and errors by SQLSTATE.

use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

use crate::pool::Pool;

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

/// Shows the use of a service's pool from now on.
pub(crate) fn watch(pool: &Pool, schema: &str) {
    let pool = pool.weak();
    let schema = schema.to_owned();
    // The provider keeps the callback, so the instrument itself is not needed.
    let _ = opentelemetry::global::meter("db")
        .u64_observable_gauge("db.client.connection.count")
        .with_description("connections that serve somebody right now, and how many there can be")
        .with_callback(move |observer| {
            let Some((used, size)) = pool.upgrade() else {
                return;
            };
            let state = |state| {
                [
                    KeyValue::new("db.client.connection.state", state),
                    KeyValue::new("db.namespace", schema.clone()),
                ]
            };
            observer.observe(used, &state("used"));
            observer.observe(size, &state("max"));
        })
        .build();
}
