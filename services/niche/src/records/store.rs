//! The SQL of records and their facets.

use chrono::{DateTime, Utc};
use db::Tx;
use kernel::{Result, SortOrder};
use serde_json::Value;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::batch::{Row, Target};
use super::facets::FacetFilter;
use super::stored::{Stored, columns};
use super::{Place, Record, RecordFilter, duplicate_record};
use crate::forms::EntityForm;

/// A record that [`upsert_records`] wrote.
pub(super) struct Written {
    pub id: Uuid,
    pub natural_key: Option<String>,
    pub created: bool,
}

/// Inserts a record and its facets by one statement. A natural key that is taken is `DUPLICATE_RESOURCE`.
pub(super) async fn insert_record(tx: &mut Tx, record: &Record, form: &EntityForm) -> Result<()> {
    let (facets, values) = facet_columns(form, &record.data);
    sqlx::query!(
        "with record as (
           insert into niche.records (tenant_id, id, niche, entity, natural_key, data, version, created_at, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $8)
         )
         insert into niche.record_facets (tenant_id, niche, entity, facet, value, record_id)
         select $1, $3, $4, f.facet, f.value, $2 from unnest($9::text[], $10::text[]) as f(facet, value)",
        tx.tenant_id().uuid(),
        record.id,
        record.niche,
        record.entity,
        form.natural_key(&record.data),
        record.data,
        record.version,
        record.created_at,
        &facets,
        &values,
    )
    .execute(tx.conn())
    .await
    .map_err(taken_or_failed)?;
    Ok(())
}

/// Reads a record and holds its row until the end of the transaction.
pub(super) async fn lock_record(tx: &mut Tx, place: Place<'_>) -> Result<Option<Record>> {
    sqlx::query_as!(
        Record,
        r#"select id, niche, entity, data as "data: Value", version, created_at, updated_at
           from niche.records where id = $1 and niche = $2 and entity = $3 and tenant_id = $4 for update"#,
        place.id,
        place.niche,
        place.entity,
        tx.tenant_id().uuid(),
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)
}

/// Writes a record whose row is held, and what changed of its facets, by one statement. Facets that stay are not touched: one statement may not
/// delete and insert the same key.
pub(super) async fn update_record(tx: &mut Tx, record: &Record, form: &EntityForm) -> Result<()> {
    let (facets, values) = facet_columns(form, &record.data);
    sqlx::query!(
        "with record as (
           update niche.records set natural_key = $5, data = $6, version = $7, updated_at = $8 where tenant_id = $1 and id = $2
         ), gone as (
           delete from niche.record_facets old where old.tenant_id = $1 and old.record_id = $2
             and not exists (select 1 from unnest($9::text[], $10::text[]) as f(facet, value) where f.facet = old.facet and f.value = old.value)
         )
         insert into niche.record_facets (tenant_id, niche, entity, facet, value, record_id)
         select $1, $3, $4, f.facet, f.value, $2 from unnest($9::text[], $10::text[]) as f(facet, value)
         on conflict do nothing",
        tx.tenant_id().uuid(),
        record.id,
        record.niche,
        record.entity,
        form.natural_key(&record.data),
        record.data,
        record.version,
        record.updated_at,
        &facets,
        &values,
    )
    .execute(tx.conn())
    .await
    .map_err(taken_or_failed)?;
    Ok(())
}

/// Deletes a record whose row is held, with its facets.
pub(super) async fn delete_record(tx: &mut Tx, id: Uuid) -> Result<()> {
    sqlx::query!(
        "with facets as (delete from niche.record_facets where tenant_id = $2 and record_id = $1)
         delete from niche.records where tenant_id = $2 and id = $1",
        id,
        tx.tenant_id().uuid(),
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Reads records by id, each by its whole key: left free, the planner plans while the table is small, when reading all records of the tenant is as good,
/// and the plan stays while the tenant grows.
pub(super) async fn list_by_ids(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<Record>> {
    sqlx::query_as!(
        Record,
        r#"select r.id, r.niche, r.entity, r.data as "data: Value", r.version, r.created_at, r.updated_at from unnest($1::uuid[]) as u(id)
           cross join lateral (select * from niche.records r where r.id = u.id and r.tenant_id = $2 offset 0) r"#,
        ids,
        tx.tenant_id().uuid(),
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)
}

/// Lists records of an entity. Every condition is leakproof, so each can use an index under row level security.
pub(super) async fn list_records(
    tx: &mut Tx,
    (filter, facets): (&RecordFilter, &[FacetFilter]),
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<Stored>> {
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new(concat!(
        "select ",
        columns!(),
        // The version is what the index of lists is asked for by, see its migration.
        " from niche.records r where r.version > 0 and r.tenant_id = "
    ));
    let tenant_id = tx.tenant_id().uuid();
    query
        .push_bind(tenant_id)
        .push(" and r.niche = ")
        .push_bind(&filter.niche)
        .push(" and r.entity = ")
        .push_bind(&filter.entity);
    if let Some(from) = filter.created_from {
        query.push(" and r.created_at >= ").push_bind(from);
    }
    if let Some(to) = filter.created_to {
        query.push(" and r.created_at < ").push_bind(to);
    }
    for facet in facets {
        query
            .push(" and exists (select 1 from niche.record_facets f where f.tenant_id = ")
            .push_bind(tenant_id);
        query.push(" and f.niche = ").push_bind(&filter.niche);
        query.push(" and f.entity = ").push_bind(&filter.entity);
        query.push(" and f.facet = ").push_bind(&facet.facet);
        query.push(" and f.value = any(").push_bind(&facet.values);
        query.push(") and f.record_id = r.id)");
    }
    let (compare, direction) = match filter.order {
        SortOrder::Descending => ("<", "desc"),
        SortOrder::Ascending => (">", "asc"),
    };
    if let Some((created_at, id)) = after {
        query
            .push(" and (r.created_at, r.id) ")
            .push(compare)
            .push(" (");
        query
            .push_bind(created_at)
            .push(", ")
            .push_bind(id)
            .push(")");
    }
    query
        .push(" order by r.created_at ")
        .push(direction)
        .push(", r.id ")
        .push(direction)
        .push(" limit ")
        .push_bind(limit);
    query
        .build_query_as::<Stored>()
        .fetch_all(tx.conn())
        .await
        .map_err(db::classify)
}

/// How many rows have the natural key of a record, and how many of these another content.
pub(super) async fn compare_records(
    tx: &mut Tx,
    target: Target<'_>,
    rows: &[Row],
) -> Result<(u64, u64)> {
    let keyed = rows
        .iter()
        .filter_map(|row| Some((row.natural_key.clone()?, row.data.to_string())));
    let (keys, data): (Vec<String>, Vec<String>) = keyed.unzip();
    let counts = sqlx::query!(
        r#"select count(*) as "known!", count(*) filter (where r.data is distinct from n.data::jsonb) as "changed!"
           from unnest($3::text[], $4::text[]) as n(natural_key, data)
           cross join lateral (select r.data from niche.records r
                               where r.tenant_id = $5 and r.niche = $1 and r.entity = $2 and r.natural_key = n.natural_key offset 0) r"#,
        target.niche,
        target.entity,
        &keys,
        &data,
        tx.tenant_id().uuid(),
    )
    .fetch_one(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok((counts.known.unsigned_abs(), counts.changed.unsigned_abs()))
}

/// Inserts rows or replaces the records that have their natural keys; records whose content is equal are left alone and not answered.
pub(super) async fn upsert_records(
    tx: &mut Tx,
    target: Target<'_>,
    rows: &[Row],
    now: DateTime<Utc>,
) -> Result<Vec<Written>> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let keys: Vec<Option<String>> = rows.iter().map(|row| row.natural_key.clone()).collect();
    let data: Vec<String> = rows.iter().map(|row| row.data.to_string()).collect();
    // `xmax` is zero in a row version that was inserted, and ours in one that replaced another.
    sqlx::query_as!(
        Written,
        r#"insert into niche.records as r (tenant_id, id, niche, entity, natural_key, data, version, created_at, updated_at)
           select $1, n.id, $2, $3, n.natural_key, n.data::jsonb, 1, $4, $4
           from unnest($5::uuid[], $6::text[], $7::text[]) as n(id, natural_key, data)
           on conflict (tenant_id, niche, entity, natural_key) where natural_key is not null
           do update set data = excluded.data, version = r.version + 1, updated_at = excluded.updated_at
             where r.data is distinct from excluded.data
           returning r.id, r.natural_key, (r.xmax = 0) as "created!""#,
        tx.tenant_id().uuid(),
        target.niche,
        target.entity,
        now,
        &ids,
        &keys as &[Option<String>],
        &data,
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)
}

/// Makes `facets` the facets of the records that they name; of `replaced` records the others go.
pub(super) async fn replace_facets(
    tx: &mut Tx,
    target: Target<'_>,
    replaced: &[Uuid],
    facets: &[(Uuid, &str, String)],
) -> Result<()> {
    let ids: Vec<Uuid> = facets.iter().map(|(id, ..)| *id).collect();
    let keys: Vec<String> = facets
        .iter()
        .map(|(_, facet, _)| (*facet).to_owned())
        .collect();
    let values: Vec<String> = facets.iter().map(|(.., value)| value.clone()).collect();
    if !replaced.is_empty() {
        sqlx::query!(
            "delete from niche.record_facets old where old.tenant_id = $5 and old.record_id = any($1)
               and not exists (select 1 from unnest($2::uuid[], $3::text[], $4::text[]) as f(record_id, facet, value)
                               where f.record_id = old.record_id and f.facet = old.facet and f.value = old.value)",
            replaced,
            &ids,
            &keys,
            &values,
            tx.tenant_id().uuid(),
        )
        .execute(tx.conn())
        .await
        .map_err(db::classify)?;
    }
    sqlx::query!(
        "insert into niche.record_facets (tenant_id, niche, entity, facet, value, record_id)
         select $1, $2, $3, f.facet, f.value, f.record_id from unnest($4::uuid[], $5::text[], $6::text[]) as f(record_id, facet, value)
         on conflict do nothing",
        tx.tenant_id().uuid(),
        target.niche,
        target.entity,
        &ids,
        &keys,
        &values,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

pub(super) fn facet_columns(form: &EntityForm, data: &Value) -> (Vec<String>, Vec<String>) {
    form.facet_values(data)
        .into_iter()
        .map(|(facet, value)| (facet.to_owned(), value))
        .unzip()
}

pub(super) fn taken_or_failed(error: sqlx::Error) -> kernel::Error {
    match db::unique_violation(&error) {
        Some("records_natural_key_key") => duplicate_record(),
        _ => db::classify(error),
    }
}
