//! SQL of memberships and groups. Lookups that precede a tenant go through definer functions; see the migration.

use chrono::{DateTime, Utc};
use db::Tx;
use kernel::{Result, TenantId, UserId};
use uuid::Uuid;

/// A person's place in one tenant.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Its subdomain.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// `active` or `suspended`.
    pub tenant_status: String,
    /// `active` or `suspended`.
    pub status: String,
    /// Built-in roles.
    pub roles: Vec<String>,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// What decides whether a person may enter a tenant at all.
#[derive(Clone, Debug)]
pub struct Access {
    /// `active` or `suspended`.
    pub tenant_status: String,
    /// `active` or `suspended`; none for a stranger.
    pub membership_status: Option<String>,
}

/// Every tenant of a person, oldest membership first, at most 200.
pub async fn list_of(tx: &mut Tx, user_id: UserId) -> Result<Vec<Membership>> {
    sqlx::query_as!(
        Membership,
        r#"select tenant_id as "tenant_id!", slug as "slug!", name as "name!", tenant_status as "tenant_status!", status as "status!",
               roles as "roles!", created_at as "created_at!"
           from auth.memberships_of($1)"#,
        user_id.0
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)
}

/// The state of a tenant and of a person's membership, held until the transaction ends. None when there is no such tenant.
pub async fn hold_access(
    tx: &mut Tx,
    user_id: UserId,
    tenant_id: TenantId,
) -> Result<Option<Access>> {
    sqlx::query_as!(
        Access,
        r#"select tenant_status as "tenant_status!", membership_status from auth.hold_access_of($1, $2)"#,
        user_id.0,
        tenant_id.0
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)
}
