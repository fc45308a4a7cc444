//! A database that lives for one run.

use std::path::Path;
use std::str::FromStr as _;

use anyhow::{Context as _, Result};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _};

const PREFIX: &str = "xtask_sqlx_";
/// Roles belong to the whole server, so preparing two databases at once can collide; PostgreSQL rolls one back.
const ATTEMPTS: u32 = 8;

/// A freshly created database on the test server.
pub struct Scratch {
    server: String,
    name: String,
}

impl Scratch {
    /// Creates it. The name contains the process id, so runs beside each other do not meet.
    pub async fn create(server: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}", std::process::id());
        let mut admin = connect(server, None).await?;
        execute(
            &mut admin,
            format!("drop database if exists {name} with (force)"),
        )
        .await?;
        execute(
            &mut admin,
            format!("create database {name} template template0"),
        )
        .await?;
        admin.close().await?;
        Ok(Self {
            server: server.to_owned(),
            name,
        })
    }

    /// Where the macros connect to; with the empty search path of the services, so that an unqualified name fails here too.
    pub fn url(&self) -> String {
        let options = PgConnectOptions::from_str(&self.server).expect("connected with it before");
        options
            .database(&self.name)
            .options([("search_path", "")])
            .to_url_lossy()
            .to_string()
    }

    /// Creates roles, schemas and extensions of `services`, then applies the migrations of each as the owner of its schema.
    pub async fn prepare(&self, root: &Path, services: &[String]) -> Result<()> {
        let bootstrap = std::fs::read_to_string(root.join("crates/db/sql/bootstrap.sql"))
            .context("crates/db/sql/bootstrap.sql")?;
        for service in services {
            let mut attempt = 1;
            while let Err(error) = self.bootstrap(&bootstrap, service).await {
                if attempt == ATTEMPTS || !is_collision(&error) {
                    return Err(anyhow::Error::new(error)
                        .context("while running crates/db/sql/bootstrap.sql"));
                }
                attempt += 1;
            }
            self.migrate(root, service).await?;
        }
        Ok(())
    }

    async fn migrate(&self, root: &Path, service: &str) -> Result<()> {
        let folder = root.join("services").join(service).join("migrations");
        let mut migrator = Migrator::new(folder.as_path())
            .await
            .with_context(|| folder.display().to_string())?;
        migrator
            .set_locking(false)
            .dangerous_set_table_name(format!("{service}.migrations"));
        let mut connection = connect(&self.server, Some(&self.name)).await?;
        execute(
            &mut connection,
            format!("set search_path = ''; set role {service}_owner"),
        )
        .await?;
        migrator
            .run_direct(None, &mut connection, false)
            .await
            .with_context(|| format!("a migration of {service} failed"))?;
        connection.close().await?;
        Ok(())
    }

    /// Runs the bootstrap, and leaves the passwords as they were: roles belong to the whole server, and tests log in with them.
    async fn bootstrap(&self, sql: &str, service: &str) -> Result<(), sqlx::Error> {
        let options = PgConnectOptions::from_str(&self.server)?.database(&self.name);
        let mut connection = options.connect().await?;
        connection
            .execute(sqlx::raw_sql(AssertSqlSafe(format!("begin; {sql}"))))
            .await?;
        let passwords = "select rolname::text, rolpassword from pg_catalog.pg_authid where rolname like $1 || '\\_%' and rolcanlogin";
        let before = sqlx::query(passwords)
            .bind(service)
            .fetch_all(&mut connection)
            .await?;
        sqlx::query("select app.create_service($1, null, null, null)")
            .bind(service)
            .execute(&mut connection)
            .await?;
        for row in before {
            let (role, password): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
            // An encrypted password is stored as it is given.
            let statement = "select format('alter role %I password %L', $1::text, $2::text)";
            let statement: String = sqlx::query_scalar(statement)
                .bind(role)
                .bind(password)
                .fetch_one(&mut connection)
                .await?;
            connection
                .execute(sqlx::raw_sql(AssertSqlSafe(statement)))
                .await?;
        }
        connection.execute(sqlx::raw_sql("commit")).await?;
        connection.close().await
    }

    /// Drops it.
    pub async fn discard(self) -> Result<()> {
        let mut admin = connect(&self.server, None).await?;
        execute(
            &mut admin,
            format!("drop database if exists {} with (force)", self.name),
        )
        .await?;
        admin.close().await?;
        Ok(())
    }
}

/// Drops what interrupted runs left behind: scratch databases of processes that are gone.
pub async fn sweep(server: &str) -> Result<()> {
    let mut admin = connect(server, None).await?;
    let names = sqlx::query(
        "select datname::text from pg_catalog.pg_database where datname like $1 || '%'",
    )
    .bind(PREFIX)
    .fetch_all(&mut admin)
    .await?;
    for row in names {
        let name: String = row.try_get(0)?;
        if owner(&name)
            .is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
        {
            execute(
                &mut admin,
                format!("drop database if exists {name} with (force)"),
            )
            .await?;
        }
    }
    admin.close().await?;
    Ok(())
}

/// The process that made a scratch database.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('_').next()?.parse().ok()
}

/// "tuple concurrently updated" (XX000), two `create role` at once (23505, 42710), a deadlock (40P01).
fn is_collision(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| matches!(&*code, "XX000" | "23505" | "42710" | "40P01"))
}

async fn connect(server: &str, database: Option<&str>) -> Result<PgConnection> {
    let mut options = PgConnectOptions::from_str(server)
        .context("TESTKIT_DATABASE_URL is no PostgreSQL address")?;
    if let Some(database) = database {
        options = options.database(database);
    }
    options.connect().await.context(
        "cannot reach the PostgreSQL server of TESTKIT_DATABASE_URL; start it with `./dev infra`",
    )
}

async fn execute(connection: &mut PgConnection, statement: String) -> Result<()> {
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(statement)))
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_process() {
        assert_eq!(owner("xtask_sqlx_123"), Some(123));
        assert_eq!(owner("xtask_sqlx_"), None);
        assert_eq!(owner("auth"), None);
    }
}
