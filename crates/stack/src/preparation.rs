//! From an empty server to a database that the services can use. Every step may run again and then changes nothing.

use anyhow::Context as _;
use db::{ServiceRoles, SetupError};
use runtime::{Process, Reader};
use secrecy::{ExposeSecret as _, SecretString};

use crate::Configs;
use crate::settings::{SERVICES, Settings};

/// Creates roles, schemas and extensions, with the passwords that the connection strings hold.
pub async fn bootstrap(settings: &Settings) -> anyhow::Result<()> {
    let mut reader = settings.reader();
    let roles: Vec<ServiceRoles> = SERVICES
        .iter()
        .map(|service| roles_of(service, &mut reader))
        .collect();
    reader.finish()?;
    db::bootstrap(settings.admin_db_url.expose_secret(), &roles)
        .await
        .map_err(explain)
}

/// Brings every schema up to date.
pub async fn migrate(configs: &Configs) -> anyhow::Result<()> {
    let schemas = [
        (&configs.auth.db, &auth::MIGRATOR),
        (&configs.tenant.db, &tenant::MIGRATOR),
        (&configs.niche.db, &niche::MIGRATOR),
        (&configs.search.db, &search::MIGRATOR),
    ];
    for (config, migrator) in schemas {
        let schema = config.schema.to_string();
        let owner = config.owner_url.as_ref().with_context(|| {
            format!(
                "{}_DB_OWNER_URL is needed to migrate",
                schema.to_uppercase()
            )
        })?;
        db::migrate(owner.expose_secret(), migrator, &schema)
            .await
            .map_err(explain)?;
    }
    Ok(())
}

/// Writes the catalogue and the first platform admin.
pub async fn seed(configs: &Configs, process: &Process) -> anyhow::Result<()> {
    let app = tenant::App::connect(&configs.tenant, process).await?;
    let catalogue = tenant::catalog::seed(&app).await?;
    app.db.close().await;
    let is_new = auth::seed_platform_admin(&configs.auth, process).await?;
    tracing::info!(?catalogue, admin_created = is_new, "seeded");
    Ok(())
}

fn roles_of(service: &str, reader: &mut Reader) -> ServiceRoles {
    let upper = service.to_uppercase();
    let mut password = |name: String, role: &str| {
        let url = reader.secret(&name, "a connection string with a password");
        let user_and_password = url
            .expose_secret()
            .rsplit_once('@')
            .and_then(|(head, _)| head.rsplit_once(':'));
        let user = user_and_password.and_then(|(head, _)| head.rsplit_once('/'));
        // The role of that name is about to get this password; somebody else's must not become known to it, nor must we run as somebody else.
        if !url.expose_secret().is_empty()
            && user.is_none_or(|(_, user)| user != format!("{service}_{role}"))
        {
            reader.problem(
                &name,
                format!("does not connect as {service}_{role}"),
                &format!("postgres://{service}_{role}:password@host:port/database"),
            );
        }
        let password = user_and_password.map(|(_, password)| password.to_owned());
        if password
            .as_deref()
            .is_none_or(|password| password.is_empty() || password.contains('/'))
        {
            reader.problem(
                &name,
                "has no password",
                "postgres://role:password@host:port/database",
            );
        }
        SecretString::from(password.unwrap_or_default())
    };
    ServiceRoles {
        service: service.to_owned(),
        owner_password: password(format!("{upper}_DB_OWNER_URL"), "owner"),
        app_password: password(format!("{upper}_DB_URL"), "app"),
        relay_password: password(format!("{upper}_DB_RELAY_URL"), "relay"),
    }
}

fn explain(error: SetupError) -> anyhow::Error {
    let is_unreachable = error.is_unreachable();
    let error = anyhow::Error::new(error);
    if is_unreachable {
        error.context("PostgreSQL cannot be reached; start it, or let `./dev up` do so")
    } else {
        error
    }
}
