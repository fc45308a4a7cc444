//! What a process asks of its database before it serves: a role that row level security binds, and tables that are under it.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};

use crate::setup::SetupError;

/// How long a server may take to answer before it counts as one that is down.
const PATIENCE: Duration = Duration::from_secs(2);

/// The roles by which the session could get around row level security; null when there are none. A superuser is a member of every role, so
/// for one the first word says it all. The roles that PostgreSQL itself brings read all tables, write them, or run programs on the server.
const UNFIT_BECAUSE: &str = "select string_agg(distinct case \
       when m.rolsuper then 'is superuser' \
       when m.rolbypassrls then 'has BYPASSRLS' \
       when m.rolname ~ '^pg_' then 'has the rights of ' || m.rolname \
       else 'owns tables' end || case when m.rolname = session_user or m.rolname ~ '^pg_' then '' else ' through ' || m.rolname end, ', ') \
     from pg_catalog.pg_roles m join pg_catalog.pg_roles s on s.rolname = session_user \
     where (pg_catalog.pg_has_role(session_user, m.oid, 'member') and (m.oid = s.oid or not s.rolsuper) or m.rolname = current_user) \
       and (m.rolsuper or m.rolbypassrls or m.rolname ~ '^pg_' or exists ( \
       select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
       where c.relowner = m.oid and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'))";

/// The rules of the catalogue gate that a runtime role can see for itself, on the tables of its own schema.
const START_CHECK: &str = include_str!("../sql/start_check.sql");

/// What makes the session's role unfit to serve requests.
pub(crate) async fn unfit_because(
    connection: &mut PgConnection,
) -> Result<Option<String>, sqlx::Error> {
    connection
        .fetch_one(sqlx::raw_sql(UNFIT_BECAUSE))
        .await?
        .try_get_unchecked(0)
}

/// Examines both runtime roles and the tables once at start. A server that cannot be reached is no reason to give up: the roles are examined
/// again at each connection.
pub(crate) async fn examine(
    app: &PgConnectOptions,
    relay: &PgConnectOptions,
    schema: &str,
) -> Result<(), SetupError> {
    let (app, relay) = tokio::join!(examine_app(app, schema), fit_connection(relay));
    app?;
    // The answer is in; a polite goodbye that fails changes nothing.
    drop(relay?.close().await);
    Ok(())
}

/// A connection whose role is fit.
async fn fit_connection(options: &PgConnectOptions) -> Result<PgConnection, SetupError> {
    let quiet = options.clone().disable_statement_logging();
    let connecting = SetupError::server("while connecting to PostgreSQL");
    let mut connection = match tokio::time::timeout(PATIENCE, quiet.connect()).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(connecting(error)),
        Err(_) => return Err(connecting(sqlx::Error::PoolTimedOut)),
    };
    let asking = SetupError::server("while checking the database role");
    match unfit_because(&mut connection).await.map_err(asking)? {
        None => Ok(connection),
        Some(why) => Err(SetupError::Role {
            role: options.get_username().to_owned(),
            why,
        }),
    }
}

async fn examine_app(options: &PgConnectOptions, schema: &str) -> Result<(), SetupError> {
    let mut connection = fit_connection(options).await?;
    let asking = || SetupError::server("while checking row level security");
    // Expressions are printed relative to the search path, and the check compares texts.
    connection
        .execute("set search_path = ''")
        .await
        .map_err(asking())?;
    let findings: Option<String> = sqlx::query_scalar(START_CHECK)
        .bind(schema)
        .fetch_one(&mut connection)
        .await
        .map_err(asking())?;
    drop(connection.close().await);
    match findings {
        Some(findings) => Err(SetupError::Unprotected { findings }),
        None => Ok(()),
    }
}
