//! The small schema on which these tests act.

use db::{Db, Tx};
use kernel::{RequestContext, Result, TenantId};
use sqlx::migrate::Migrator;
use testkit::TestDb;
use uuid::Uuid;

pub static MIGRATOR: Migrator = sqlx::migrate!("tests/it/migrations");

pub async fn database() -> TestDb {
    TestDb::new("probe", &MIGRATOR).await
}

pub fn in_tenant(tenant_id: TenantId) -> RequestContext {
    testkit::context()
        .user(testkit::ANN)
        .tenant(tenant_id)
        .build()
}

/// A random id for a row.
pub fn id() -> Uuid {
    kernel::Ids::random(kernel::Clock::system()).next()
}

pub async fn insert_note(tx: &mut Tx, id: Uuid, body: &str) -> Result<()> {
    let tenant_id = tx.tenant_id().uuid();
    sqlx::query("insert into probe.notes (tenant_id, id, body) values ($1, $2, $3)")
        .bind(tenant_id)
        .bind(id)
        .bind(body)
        .execute(tx.conn())
        .await
        .map_err(db::classify)?;
    Ok(())
}

/// Writes one note in a transaction of its own.
pub async fn note(db: &Db, tenant_id: TenantId, body: &str) -> Uuid {
    let mut tx = db.tenant(&in_tenant(tenant_id)).await.unwrap();
    let id = id();
    insert_note(&mut tx, id, body).await.unwrap();
    tx.commit().await.unwrap();
    id
}

pub async fn bodies(tx: &mut Tx) -> Vec<String> {
    sqlx::query_scalar("select body from probe.notes order by body")
        .fetch_all(tx.conn())
        .await
        .unwrap()
}
