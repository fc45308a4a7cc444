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

/// So few that all of them stand on one page.
const FEW: &str = "
    insert into niche.records (tenant_id, id, niche, entity, data, version, created_at, updated_at)
    select 'aaaaaaaa-0000-7000-8000-00000000000a', gen_random_uuid(), 'software-catalog', 'packages', '{}', 1, now(), now() from generate_series(1, 10);
    analyze niche.records;";

#[tokio::test]
async fn a_record_is_found_by_its_key_among_many_small_tenants() {
    let plan = plan(CROWD, FIND).await;
    assert!(plan.contains("Index Scan using records_pkey"), "{plan}");
}

#[tokio::test]
async fn a_plan_that_was_made_for_a_few_records_does_for_many() {
    let plan = plan(FEW, FIND).await;
    assert!(plan.contains("Index Scan using records_pkey"), "{plan}");
}

#[tokio::test]
async fn a_page_is_read_in_the_order_of_its_index() {
    for records in [CROWD, FEW] {
        let plan = plan(records, LIST).await;
        assert!(plan.contains("Scan using records_created_at_idx"), "{plan}");
        assert!(!plan.contains("Sort"), "{plan}");
    }
}

const FIND: (&str, &str, &str) = (
    niche::records::FIND,
    "uuid, text, text, uuid",
    "gen_random_uuid(), 'software-catalog', 'packages'",
);
const LIST: (&str, &str, &str) = (
    niche::records::LIST,
    "text, text, bigint, uuid",
    "'software-catalog', 'packages', 26",
);

/// How a connection of the service's reads for as long as it keeps the plan. Statements end with the tenant.
async fn plan(records: &'static str, (statement, types, values): (&str, &str, &str)) -> String {
    let service = Service::start().await;
    let mut admin = service.db.admin().await;
    sqlx::raw_sql(records).execute(&mut admin).await.unwrap();
    let mut role = service.db.role("niche_app").await;
    let statement = db::read_statement(statement, 4);
    let tenant = TENANT_A.uuid();
    let script = format!(
        "set plan_cache_mode = force_generic_plan; prepare it({types}, uuid) as {statement}; explain execute it({values}, '{tenant}', '{tenant}')"
    );
    let lines = sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .fetch_all(&mut role)
        .await
        .unwrap();
    let plan: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
    plan.join("\n")
}
