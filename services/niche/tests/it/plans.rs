//! Which index a statement walks, where the wrong one costs a large tenant the size of its data.

use sqlx::Row as _;
use testkit::TENANT_A;

use crate::harness::Service;

/// Thousands of tenants with a record each, and one with many: what a young platform with one eager customer looks like.
const CROWD: &str = "
    insert into niche.records (tenant_id, id, niche, entity, data, version, created_at, updated_at)
    select gen_random_uuid(), gen_random_uuid(), 'software-catalog', 'packages', '{}', 1, now(), now() from generate_series(1, 3000);
    insert into niche.records (tenant_id, id, niche, entity, data, version, created_at, updated_at)
    select 'aaaaaaaa-0000-7000-8000-00000000000a', gen_random_uuid(), 'software-catalog', 'packages', '{}', 1, now(), now() from generate_series(1, 100);
    analyze niche.records;";

#[tokio::test]
async fn a_record_of_a_large_tenant_is_found_by_its_key_among_many_small_tenants() {
    let service = Service::start().await;
    let mut admin = service.db.admin().await;
    sqlx::raw_sql(CROWD).execute(&mut admin).await.unwrap();
    let mut role = service.db.role("niche_app").await;
    let statement = db::read_statement(niche::records::FIND, 4);
    let prepare = format!(
        "set plan_cache_mode = force_generic_plan; prepare find(uuid, text, text, uuid, uuid) as {statement}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(prepare))
        .execute(&mut role)
        .await
        .unwrap();
    let tenant = TENANT_A.uuid();
    let explain = format!(
        "explain execute find(gen_random_uuid(), 'software-catalog', 'packages', '{tenant}', '{tenant}')"
    );
    let lines = sqlx::raw_sql(sqlx::AssertSqlSafe(explain))
        .fetch_all(&mut role)
        .await
        .unwrap();
    let plan: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("Index Scan using records_pkey"), "{plan}");
}
