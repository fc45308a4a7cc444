//! How many rows a statement reads. Its plan is made while the tables are empty, and must still do when they are not.

use kernel::Clock;
use search::documents::{self, Document};
use search::vectors;
use sqlx::Executor as _;
use testkit::TENANT_A;
use uuid::Uuid;

use crate::harness::{Result, Service, worker_of};

/// After so many executions of a statement, PostgreSQL keeps its plan.
const UNTIL_PLANNED: usize = 10;
/// Documents beside the one in hand.
const CROWD: i64 = 2_000;

fn document(n: u128) -> Document {
    Document {
        id: Uuid::from_u128(n),
        niche: "software-catalog".to_owned(),
        entity: "packages".to_owned(),
        title: format!("title {n}"),
        facet_terms: vec!["section:video".to_owned()],
        record_version: 1,
        content_hash: vec![1],
        passages: vec![format!("passage {n}")],
    }
}

/// What the worker does with a new document, but for the record's own data.
async fn index(tx: &mut db::Tx, clock: &Clock, n: u128) -> Result<()> {
    let document = document(n);
    let ids = [document.id];
    documents::store::list_hashes(tx, &ids).await?;
    documents::store::upsert_documents(tx, std::slice::from_ref(&document), clock.now()).await?;
    documents::store::upsert_chunks(tx, std::slice::from_ref(&document)).await?;
    let pending = vectors::store::list_pending(tx, &ids, "model").await?;
    assert_eq!(pending.len(), 1);
    let vectors = [search::lexical::embed(&pending[0].content)];
    vectors::store::upsert_embeddings(tx, &pending, &vectors, ("model", clock.now())).await
}

/// Rows that this transaction has read so far.
async fn rows_read(tx: &mut db::Tx) -> i64 {
    sqlx::query_scalar(
        "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::bigint from pg_catalog.pg_stat_xact_user_tables where schemaname = 'search'",
    )
    .fetch_one(tx.conn())
    .await
    .unwrap()
}

#[tokio::test]
async fn a_document_in_a_growing_tenant_costs_what_the_first_one_cost() {
    let service = Service::start().await;
    let mut tx = service.app.db.tenant(&worker_of(TENANT_A)).await.unwrap();
    for n in 0..UNTIL_PLANNED {
        index(&mut tx, &service.clock, n as u128).await.unwrap();
    }
    let crowd = format!(
        "insert into search.documents (tenant_id, id, niche, entity, title, facet_terms, record_version, content_hash, indexed_at)
         select app.tid(), gen_random_uuid(), 'n', 'e', 't', '{{}}', 1, '', now() from generate_series(1, {CROWD});
         insert into search.chunks (tenant_id, document_id, ordinal, niche, entity, facet_terms, content, content_hash, tsv)
         select d.tenant_id, d.id, 0, 'n', 'e', '{{}}', '', '', '' from search.documents d where d.niche = 'n';
         insert into search.embeddings (tenant_id, document_id, ordinal, niche, entity, facet_terms, content_hash, embedding, embedding_model, embedding_updated_at)
         select c.tenant_id, c.document_id, 0, 'n', 'e', '{{}}', '', array_fill(0.1::real, array[384])::ext.halfvec, 'model', now()
         from search.chunks c where c.niche = 'n'"
    );
    tx.conn().execute(sqlx::AssertSqlSafe(crowd)).await.unwrap();
    let before = rows_read(&mut tx).await;
    index(&mut tx, &service.clock, 1_000_000).await.unwrap();
    let read = rows_read(&mut tx).await - before;
    assert!(read <= 20, "{read} rows were read for one document");
    tx.rollback().await.unwrap();
}
