//! SQL of the tenants' projection, their groups and their first member. Runs inside the tenant.

use chrono::{DateTime, Utc};
use db::Tx;
use kernel::{Result, UserId};
use uuid::Uuid;

use super::TenantAccess;
use crate::App;
use crate::roles;

/// Stores what the tenant service says, unless something newer is stored. True when it changed something.
pub async fn upsert_tenant(tx: &mut Tx, access: &TenantAccess, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        r#"insert into auth.tenants as t (tenant_id, slug, name, status, entitled_actions, version, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $7)
           on conflict (tenant_id) do update
               set slug = excluded.slug, name = excluded.name, status = excluded.status, entitled_actions = excluded.entitled_actions,
                   version = excluded.version, updated_at = excluded.updated_at
               where t.version < excluded.version"#,
        access.tenant_id.0,
        access.slug,
        access.name,
        access.status,
        &access.entitled_actions,
        access.version,
        now
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(done.rows_affected() == 1)
}

/// Makes the built-in groups that are missing.
pub async fn insert_groups(tx: &mut Tx, app: &App, now: DateTime<Utc>) -> Result<()> {
    let keys: Vec<String> = roles::built_in().keys().map(str::to_owned).collect();
    let ids: Vec<Uuid> = keys.iter().map(|_| app.ids.next()).collect();
    let tenant_id = tx.tenant_id().0;
    sqlx::query!(
        r#"insert into auth.groups (tenant_id, id, role, name, created_at, updated_at)
           select $1, g.id, g.role, g.role, $4, $4 from unnest($2::uuid[], $3::text[]) as g (id, role)
           on conflict (tenant_id, role) do nothing"#,
        tenant_id,
        &ids,
        &keys,
        now
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// The first owner, if there is one.
pub async fn find_owner(tx: &mut Tx) -> Result<Option<UserId>> {
    let row = sqlx::query_scalar!(
        r#"select m.user_id from auth.group_members m join auth.groups g on g.tenant_id = m.tenant_id and g.id = m.group_id
           where g.role = 'owner' order by m.created_at, m.user_id limit 1"#
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(row.map(UserId))
}

/// Makes a person a member with one built-in role.
pub async fn insert_membership(
    tx: &mut Tx,
    user_id: UserId,
    role: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let tenant_id = tx.tenant_id().0;
    sqlx::query!(
        "insert into auth.memberships (tenant_id, user_id, created_at, updated_at) values ($1, $2, $3, $3) on conflict do nothing",
        tenant_id,
        user_id.0,
        now
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    sqlx::query!(
        r#"insert into auth.group_members (tenant_id, group_id, user_id, created_at)
           select g.tenant_id, g.id, $2, $3 from auth.groups g where g.tenant_id = $1 and g.role = $4
           on conflict do nothing"#,
        tenant_id,
        user_id.0,
        now,
        role
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}
