//! Migrations of one service's schema, as its owner.

use std::time::Duration;

use runtime::Shutdown;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

use crate::setup::{SetupError, checked_name, options};

/// A migration that cannot get its lock makes everybody behind it wait too, so it gives up after this long.
const LOCK_TIMEOUT: &str = "10s";
/// Pauses of [`migrate_with_patience`]: doubled from the first to the last.
const PATIENCE_FIRST: Duration = Duration::from_millis(250);
const PATIENCE_LAST: Duration = Duration::from_secs(10);

/// Brings `schema` up to date. Several processes may call it at once: one migrates, the others wait and find nothing to do.
///
/// Applied migrations are noted in `<schema>.migrations`. A database that is ahead of this program is left alone, since an older
/// version of the program must be able to start on it.
pub async fn migrate(owner_url: &str, migrator: &Migrator, schema: &str) -> Result<(), SetupError> {
    let schema = checked_name(schema)?;
    let options = options("the owner's database url", owner_url)?
        .application_name("migrate")
        .disable_statement_logging();
    let mut connection = options.connect().await.map_err(SetupError::server(
        "while connecting to PostgreSQL as the owner of the schema",
    ))?;
    let done = run(&mut connection, migrator, schema).await;
    // Closing also gives the lock back.
    drop(connection.close().await);
    done
}

/// Like [`migrate`], for `MIGRATE_ON_STARTUP`: waits for a server that is not up yet, until `shutdown` (requirement DB-09).
pub async fn migrate_with_patience(
    owner_url: &str,
    migrator: &Migrator,
    schema: &str,
    shutdown: &Shutdown,
) -> Result<(), SetupError> {
    let mut pause = PATIENCE_FIRST;
    loop {
        match migrate(owner_url, migrator, schema).await {
            Err(error) if error.is_unreachable() && !shutdown.is_begun() => {
                tracing::warn!(schema, %error, pause_ms = pause.as_millis(), "cannot migrate yet; trying again");
                shutdown.or(tokio::time::sleep(pause)).await;
                pause = (pause * 2).min(PATIENCE_LAST);
            }
            done => return done,
        }
    }
}

async fn run(
    connection: &mut PgConnection,
    migrator: &Migrator,
    schema: &str,
) -> Result<(), SetupError> {
    let locking = "while waiting for another migration to finish";
    // The lock is ours rather than sqlx's: theirs is one for the whole database, and waiting for it would run into the role's timeouts.
    let lock = format!(
        "set statement_timeout = 0; set lock_timeout = 0; \
         select pg_advisory_lock(hashtextextended('migrate {schema}', 0)); set lock_timeout = '{LOCK_TIMEOUT}'"
    );
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(lock)))
        .await
        .map_err(SetupError::server(locking))?;
    let mut ours = Migrator::with_migrations(migrator.iter().cloned().collect());
    ours.set_locking(false).set_ignore_missing(true);
    ours.dangerous_set_table_name(format!("{schema}.migrations"));
    ours.run_direct(None, connection, false)
        .await
        .map_err(|error| explain(schema, error))
}

fn explain(schema: &str, error: MigrateError) -> SetupError {
    let what = match &error {
        MigrateError::Execute(_) => "cannot read or write the list of migrations; did `bootstrap` create the schema and its owner?".to_owned(),
        MigrateError::ExecuteMigration(cause, version) => format!("migration {version} failed and was rolled back: {cause}"),
        MigrateError::VersionMismatch(version) => {
            format!("migration {version} was changed after it had been applied; restore it, and put the change into a new one")
        }
        MigrateError::Dirty(version) => format!("migration {version} stopped half way; mend the schema by hand, then its row in {schema}.migrations"),
        other => other.to_string(),
    };
    if let MigrateError::Execute(sqlx::Error::Io(_)) = &error
        && let MigrateError::Execute(source) = error
    {
        return SetupError::Server {
            doing: "while migrating",
            source,
        };
    }
    SetupError::Migration {
        schema: schema.to_owned(),
        what,
        source: Some(Box::new(error)),
    }
}
