//! What stands in the tables, as digests: every table with a tenant, found in the live catalogue, and what people have beyond tenants.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::world::World;

/// Tables with tenants. Partitions are part of their parents.
const TABLES: &str = "
    select n.nspname || '.' || c.relname from pg_attribute a
    join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    where a.attname = 'tenant_id' and c.relkind in ('r', 'p') and not c.relispartition
      and n.nspname in (select name from app.services) order by 1";

/// Tables of people.
const PERSONAL: [(&str, &str); 4] = [
    ("auth.users", "id"),
    ("auth.credentials", "user_id"),
    ("auth.sessions", "user_id"),
    ("auth.mails", "user_id"),
];

impl World {
    /// The tables that hold rows of tenants.
    pub async fn tenant_tables(&self) -> Vec<String> {
        let mut admin = self.admin().await;
        sqlx::query_scalar(TABLES)
            .fetch_all(&mut *admin)
            .await
            .unwrap()
    }

    /// Number and digest of the rows of one tenant in every table, or of all rows that have a tenant.
    pub async fn digests(&self, tenant_id: Option<Uuid>) -> BTreeMap<String, (i64, String)> {
        let tables = self.tenant_tables().await;
        let mut admin = self.admin().await;
        let mut found = BTreeMap::new();
        for table in tables {
            let sql = digest_of(&table, "$1 is null or t.tenant_id = $1");
            let digest = sqlx::query_as(AssertSqlSafe(sql))
                .bind(tenant_id)
                .fetch_one(&mut *admin)
                .await
                .unwrap();
            found.insert(table, digest);
        }
        for (table, column) in PERSONAL {
            let condition = format!(
                "$1 is null or t.{column} in (select user_id from auth.memberships where tenant_id = $1)"
            );
            let sql = digest_of(table, &condition);
            let digest = sqlx::query_as(AssertSqlSafe(sql))
                .bind(tenant_id)
                .fetch_one(&mut *admin)
                .await
                .unwrap();
            found.insert(table.to_owned(), digest);
        }
        found
    }

    /// Fails unless the rows of a tenant are what they were.
    pub async fn assert_unchanged(
        &self,
        tenant_id: Option<Uuid>,
        before: &BTreeMap<String, (i64, String)>,
        doing: &str,
    ) {
        let after = self.digests(tenant_id).await;
        let changed: Vec<&String> = before
            .iter()
            .filter(|(table, digest)| after.get(*table) != Some(digest))
            .map(|(table, _)| table)
            .collect();
        assert!(changed.is_empty(), "{doing} changed rows of {changed:?}");
    }
}

fn digest_of(table: &str, condition: &str) -> String {
    format!(
        "select count(*), md5(coalesce(string_agg(md5(t::text), '' order by md5(t::text)), '')) from {table} t where ({condition})"
    )
}
