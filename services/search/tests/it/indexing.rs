//! The index follows the records.

use std::time::Duration;

use runtime::Background;
use search::documents;
use testkit::TENANT_A;

use crate::harness::{Service, only, query, worker_of};

async fn library() -> (Service, Vec<uuid::Uuid>) {
    let service = Service::start().await;
    let ids = vec![
        service.niche.put(
            TENANT_A,
            1,
            ["mpv", "video player for the terminal", "video"],
        ),
        service.niche.put(
            TENANT_A,
            2,
            ["redis", "persistent key-value database", "database"],
        ),
        service.niche.put(
            TENANT_A,
            3,
            ["vlc", "multimedia player and streamer", "video"],
        ),
    ];
    service.index(TENANT_A, &ids).await;
    (service, ids)
}

#[tokio::test]
async fn what_was_indexed_is_found_with_its_words_marked() {
    let (service, _) = library().await;
    let answer = service.search(TENANT_A, query("players")).await.unwrap();
    let titles: Vec<&str> = answer.data.iter().map(|hit| hit.title.as_str()).collect();
    assert_eq!(
        {
            let mut t = titles.clone();
            t.truncate(2);
            t.sort_unstable();
            t
        },
        ["mpv", "vlc"],
        "stems are compared, not spellings"
    );
    assert!(
        answer.data[0].highlight.contains("<mark>player</mark>"),
        "{}",
        answer.data[0].highlight
    );
    assert_eq!(answer.data[0].facets[0].facet, "section");
    let meta = answer.meta.unwrap();
    assert_eq!(
        (
            meta.vector_mode.as_str(),
            meta.degraded,
            meta.embedding_model.as_str()
        ),
        ("exact", false, "lexical-hash-v1")
    );
}

#[tokio::test]
async fn facets_narrow_every_way_of_searching() {
    let (service, _) = library().await;
    for mode in ["hybrid", "keyword", "vector"] {
        let mut request = query("player database");
        request.mode = mode.to_owned();
        request.filters = vec![only("section", &["database", "web"])];
        if mode == "keyword" {
            request.query = "database".to_owned();
        }
        assert_eq!(
            service.titles(TENANT_A, request.clone()).await,
            ["redis"],
            "{mode}"
        );
        request.filters.push(only("section", &["video"]));
        assert!(
            service.titles(TENANT_A, request).await.is_empty(),
            "{mode}: all groups must hold"
        );
    }
}

#[tokio::test]
async fn a_changed_record_is_found_by_its_new_words_only() {
    let (service, ids) = library().await;
    service
        .niche
        .put(TENANT_A, 2, ["redis", "in-memory cache", "web"]);
    service.index(TENANT_A, &ids).await;
    let mut request = query("database");
    request.mode = "keyword".to_owned();
    assert!(service.titles(TENANT_A, request.clone()).await.is_empty());
    request.query = "cache".to_owned();
    request.filters = vec![only("section", &["web"])];
    assert_eq!(service.titles(TENANT_A, request).await, ["redis"]);
}

#[tokio::test]
async fn a_deleted_record_leaves_nothing_behind() {
    let (service, ids) = library().await;
    service.niche.remove(TENANT_A, ids[0]);
    service.index(TENANT_A, &ids[..1]).await;
    assert!(
        !service
            .titles(TENANT_A, query("mpv"))
            .await
            .contains(&"mpv".to_owned())
    );
    let mut admin = service.db.admin().await;
    let left: i64 = sqlx::query_scalar(
        "select (select count(*) from search.chunks where document_id = $1) + (select count(*) from search.embeddings where document_id = $1)",
    )
    .bind(ids[0])
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn the_same_content_is_neither_written_nor_embedded_again() {
    let (service, ids) = library().await;
    let events = service.db.events().await.len();
    service.clock.advance(chrono::TimeDelta::hours(1));
    service.index(TENANT_A, &ids).await;
    assert_eq!(
        service.db.events().await.len(),
        events,
        "no event without a change"
    );
    let mut admin = service.db.admin().await;
    let touched: i64 = sqlx::query_scalar("select count(*) from search.embeddings where embedding_updated_at > '2026-06-01T12:30:00Z'")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(touched, 0);
}

#[tokio::test]
async fn the_built_in_embedder_needs_no_second_event() {
    let service = Service::start().await;
    let id = service
        .niche
        .put(TENANT_A, 1, ["mpv", "video player", "video"]);
    documents::index_records(&service.app, &worker_of(TENANT_A), &[id])
        .await
        .unwrap();
    let status = service.status(TENANT_A).await;
    assert_eq!((status.documents, status.pending_embeddings), (1, 0));
    assert!(service.db.events().await.is_empty());
}

#[tokio::test]
async fn workers_on_the_same_documents_wait_for_each_other() {
    let (service, ids) = library().await;
    let ctx = worker_of(TENANT_A);
    let reversed: Vec<_> = ids.iter().rev().copied().collect();
    for round in 0..10 {
        service.niche.put(
            TENANT_A,
            1,
            ["mpv", &format!("video player, edition {round}"), "video"],
        );
        let (one, other) = tokio::join!(
            documents::index_records(&service.app, &ctx, &ids),
            documents::index_records(&service.app, &ctx, &reversed)
        );
        one.and(other).expect("no deadlock");
    }
}

#[tokio::test]
async fn a_query_of_any_shape_is_answered() {
    let (service, _) = library().await;
    for text in [
        "\"unclosed",
        "a | & !",
        "-",
        "%_%",
        "\0",
        "'; drop table x; --",
        "😀",
        &"x ".repeat(249),
    ] {
        service
            .search(TENANT_A, query(text))
            .await
            .unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
    }
}

#[tokio::test]
async fn the_index_takes_turns_with_other_work_in_the_background() {
    let mut service = Service::start().await;
    service.app.background = Background::of(1);
    let turn = service.app.background.turn().await;
    let ctx = worker_of(TENANT_A);
    let ids = [service
        .niche
        .put(TENANT_A, 1, ["mpv", "video player", "video"])];
    let mut indexing = Box::pin(documents::index_records(&service.app, &ctx, &ids));
    // Far longer than it takes to index one record.
    let early = tokio::time::timeout(Duration::from_millis(500), &mut indexing).await;
    assert!(early.is_err(), "it was somebody else's turn");
    drop(turn);
    indexing.await.unwrap();
    assert_eq!(service.titles(TENANT_A, query("video")).await, ["mpv"]);
}
