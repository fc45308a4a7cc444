//! Prepares a database: extensions, the `app` schema, and the four roles and the schema of each service.

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::setup::{SetupError, checked_name, options};

/// What [`bootstrap`] runs, for whoever prefers to run it by `psql`.
pub const SQL: &str = include_str!("../sql/bootstrap.sql");

/// Bootstraps of different databases in one cluster can touch the same role at the same moment; PostgreSQL then says "tuple concurrently updated".
const ATTEMPTS: u32 = 5;

/// The roles of one service, with the passwords that they get.
#[derive(Clone, Debug)]
pub struct ServiceRoles {
    /// The service: its roles are `<service>_owner`, `_app`, `_relay` and (without login) `_definer`.
    pub service: String,
    /// Of the owner, who migrates.
    pub owner_password: SecretString,
    /// Of the runtime role.
    pub app_password: SecretString,
    /// Of the outbox relay.
    pub relay_password: SecretString,
}

impl ServiceRoles {
    /// The same password for the three roles that can log in: for laptops and tests.
    pub fn with_one_password(service: &str, password: &str) -> Self {
        let password = || SecretString::from(password.to_owned());
        Self {
            service: service.to_owned(),
            owner_password: password(),
            app_password: password(),
            relay_password: password(),
        }
    }
}

/// Prepares the database of `admin_url` for these services. Needs a superuser; running it again only sets the passwords anew.
pub async fn bootstrap(admin_url: &str, services: &[ServiceRoles]) -> Result<(), SetupError> {
    for service in services {
        checked_name(&service.service)?;
    }
    let options = options("the superuser's database url", admin_url)?
        .application_name("bootstrap")
        .disable_statement_logging();
    let mut connection = options.connect().await.map_err(SetupError::server(
        "while connecting to PostgreSQL as a superuser",
    ))?;
    let mut attempts = 1;
    let done = loop {
        match run(&mut connection, services).await {
            Err(error) if attempts < ATTEMPTS && is_race(&error) => attempts += 1,
            done => {
                break done.map_err(SetupError::server(
                    "while preparing the database (this needs a superuser)",
                ));
            }
        }
    };
    drop(connection.close().await);
    done
}

async fn run(connection: &mut PgConnection, services: &[ServiceRoles]) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    // Passwords must not reach the server's log, not even when it logs DDL.
    transaction
        .execute(sqlx::raw_sql(
            "set local log_statement = 'none'; set local log_min_duration_statement = -1; set local client_min_messages = warning; \
             select pg_advisory_xact_lock(hashtextextended('bootstrap', 0))",
        ))
        .await?;
    transaction.execute(sqlx::raw_sql(SQL)).await?;
    for service in services {
        sqlx::query("select app.create_service($1, $2, $3, $4)")
            .bind(&service.service)
            .bind(service.owner_password.expose_secret())
            .bind(service.app_password.expose_secret())
            .bind(service.relay_password.expose_secret())
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}

fn is_race(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        let code = error.code();
        // XX000 is what "tuple concurrently updated" carries; 23505 is two `create role` at once.
        matches!(code.as_deref(), Some("XX000" | "23505" | "42710" | "40P01"))
    })
}
