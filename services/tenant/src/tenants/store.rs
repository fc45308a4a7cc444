//! The SQL of tenants and their packages.

use chrono::{DateTime, Utc};
use db::Tx;
use kernel::{Result, TenantId};

use super::{Position, Tenant, TenantFilter, slug_taken};

/// Inserts a tenant; a taken slug is `DUPLICATE_RESOURCE`.
pub async fn insert_tenant(tx: &mut Tx, tenant: &Tenant) -> Result<()> {
    sqlx::query!(
        "insert into tenant.tenants (tenant_id, slug, name, status, version, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $6)",
        tenant.tenant_id,
        tenant.slug,
        tenant.name,
        tenant.status,
        tenant.version,
        tenant.created_at,
    )
    .execute(tx.conn())
    .await
    .map_err(|error| match db::unique_violation(&error) {
        // An id follows from the key and the slug, so whoever meets it meets the slug, too.
        Some("tenants_slug_key" | "tenants_pkey") => slug_taken(),
        _ => db::classify(error),
    })?;
    Ok(())
}

/// Assigns a package to a tenant.
pub async fn insert_tenant_package(
    tx: &mut Tx,
    tenant_id: TenantId,
    package_key: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into tenant.tenant_packages (tenant_id, package_key, assigned_at) values ($1, $2, $3)",
        tenant_id.uuid(),
        package_key,
        now,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Reads a tenant, if it is that of the transaction.
pub async fn find_tenant(tx: &mut Tx, tenant_id: TenantId) -> Result<Option<Tenant>> {
    sqlx::query_as!(
        Tenant,
        r#"select t.tenant_id, t.slug, t.name, t.status, t.suspended_reason, t.version, t.created_at, t.updated_at,
                  array(select p.package_key from tenant.tenant_packages p
                        where p.tenant_id = t.tenant_id and p.status = 'active' order by p.package_key) as "package_keys!"
           from tenant.tenants t where t.tenant_id = $1 and t.tenant_id = $2"#,
        tenant_id.uuid(),
        tx.tenant_id().uuid(),
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)
}

/// Reads the tenant of the transaction and holds its row until the end of the transaction, so that versions grow one by one.
pub async fn lock_tenant(tx: &mut Tx, tenant_id: TenantId) -> Result<Option<Tenant>> {
    sqlx::query_as!(
        Tenant,
        r#"select t.tenant_id, t.slug, t.name, t.status, t.suspended_reason, t.version, t.created_at, t.updated_at,
                  array(select p.package_key from tenant.tenant_packages p
                        where p.tenant_id = t.tenant_id and p.status = 'active' order by p.package_key) as "package_keys!"
           from tenant.tenants t where t.tenant_id = $1 and t.tenant_id = $2 for update of t"#,
        tenant_id.uuid(),
        tx.tenant_id().uuid(),
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)
}

/// Writes status and version.
pub async fn update_status(tx: &mut Tx, tenant: &Tenant) -> Result<()> {
    sqlx::query!(
        "update tenant.tenants set status = $2, suspended_reason = $3, version = $4, updated_at = $5 where tenant_id = $1",
        tenant.tenant_id,
        tenant.status,
        tenant.suspended_reason,
        tenant.version,
        tenant.updated_at,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Lists the directory of all tenants through the function that may cross them.
pub async fn list_directory(
    tx: &mut Tx,
    filter: &TenantFilter,
    after: Option<&Position>,
    rows: i64,
) -> Result<Vec<Tenant>> {
    sqlx::query_as!(
        Tenant,
        r#"select tenant_id as "tenant_id!", slug as "slug!", name as "name!", status as "status!", suspended_reason,
                  version as "version!", created_at as "created_at!", updated_at as "updated_at!", package_keys as "package_keys!"
           from tenant.directory($1, $2, $3, $4, $5, $6, $7, $8)"#,
        filter.status,
        filter.text,
        filter.created_from,
        filter.created_to,
        after.map(|position| position.created_at),
        after.map(|position| position.id),
        !filter.ascending,
        rows,
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)
}

/// Lists the actions of an active package; empty when there is no such package.
pub async fn list_package_actions(tx: &mut Tx, package_key: &str) -> Result<Vec<String>> {
    sqlx::query_scalar!(
        "select a.action_key from tenant.package_actions a join tenant.packages p on p.key = a.package_key
         where p.key = $1 and p.status = 'active' order by a.action_key",
        package_key,
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)
}

/// Lists the packages on offer.
pub async fn list_package_keys(tx: &mut Tx) -> Result<Vec<String>> {
    sqlx::query_scalar!("select key from tenant.packages where status = 'active' order by key")
        .fetch_all(tx.conn())
        .await
        .map_err(db::classify)
}

/// Lists what a tenant may use at all: the union over its packages.
pub async fn list_entitled_actions(tx: &mut Tx, tenant_id: TenantId) -> Result<Vec<String>> {
    sqlx::query_scalar!(
        "select distinct a.action_key from tenant.tenant_packages p join tenant.package_actions a on a.package_key = p.package_key
         where p.tenant_id = $1 and p.status = 'active' order by a.action_key",
        tenant_id.uuid(),
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)
}
