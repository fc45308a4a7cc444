//! An embedder that is slow, broken or away. The fake speaks real HTTP over a socket.

use std::time::Duration;

use kernel::ErrorCode;
use search::{EmbedderConfig, documents, vectors};
use testkit::TENANT_A;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::{Service, query, worker_of};

/// Answers every request with these bytes, and says where.
async fn server(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    runtime::Tasks::new().spawn("fake-embedder", async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 65_536];
            // The requests of these tests are small: one read has them whole.
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}/v1")
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn one_vector(width: usize) -> String {
    let numbers = vec!["0.5"; width].join(",");
    ok(&format!(
        "{{\"data\":[{{\"index\":0,\"embedding\":[{numbers}]}}]}}"
    ))
}

async fn service(base_url: String) -> Service {
    let timeout = Duration::from_millis(300);
    Service::with_embedder(EmbedderConfig::Http {
        base_url,
        model: "test-model".to_owned(),
        api_key: None,
        timeout,
    })
    .await
}

#[tokio::test]
async fn an_embedder_that_answers_is_used() {
    let service = service(server(one_vector(384)).await).await;
    let id = service
        .niche
        .put(TENANT_A, 1, ["mpv", "video player", "video"]);
    service.index(TENANT_A, &[id]).await;
    let meta = service
        .search(TENANT_A, query("anything"))
        .await
        .unwrap()
        .meta
        .unwrap();
    assert_eq!(
        (
            meta.degraded,
            meta.vector_mode.as_str(),
            meta.embedding_model.as_str()
        ),
        (false, "exact", "test-model")
    );
}

#[tokio::test]
async fn with_a_broken_embedder_words_still_find_and_the_rest_waits() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cases = [
        ("away", "http://127.0.0.1:1/v1".to_owned()),
        ("silent", format!("http://{}/v1", silent.local_addr().unwrap())),
        ("failing", server("HTTP/1.1 500 Oops\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned()).await),
        ("too wide", server(one_vector(1536)).await),
        ("no JSON", server(ok("<html>")).await),
        ("redirecting", server("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned()).await),
    ];
    for (case, base_url) in cases {
        let service = service(base_url).await;
        let id = service
            .niche
            .put(TENANT_A, 1, ["mpv", "video player", "video"]);
        documents::index_records(&service.app, &worker_of(TENANT_A), &[id])
            .await
            .unwrap();
        let error = vectors::embed_documents(&service.app, &worker_of(TENANT_A), &[id])
            .await
            .unwrap_err();
        assert_eq!(
            error.error_code(),
            ErrorCode::ServiceUnavailable,
            "{case}: the event is tried again"
        );
        let answer = service.search(TENANT_A, query("video")).await.unwrap();
        assert_eq!(answer.data.len(), 1, "{case}");
        assert!(answer.meta.unwrap().degraded, "{case}");
        assert_eq!(
            service.status(TENANT_A).await.pending_embeddings,
            1,
            "{case}"
        );
    }
}

#[tokio::test]
async fn documents_are_found_by_words_before_they_have_embeddings() {
    let service = service(server(one_vector(384)).await).await;
    let id = service
        .niche
        .put(TENANT_A, 1, ["mpv", "video player", "video"]);
    documents::index_records(&service.app, &worker_of(TENANT_A), &[id])
        .await
        .unwrap();
    let queued = service.db.events().await;
    assert_eq!(queued.len(), 1, "the embedder is asked later");
    let status = service.status(TENANT_A).await;
    assert_eq!((status.documents, status.pending_embeddings), (1, 1));
    assert_eq!(service.titles(TENANT_A, query("video")).await, ["mpv"]);
    vectors::embed_documents(&service.app, &worker_of(TENANT_A), &[id])
        .await
        .unwrap();
    assert_eq!(service.status(TENANT_A).await.pending_embeddings, 0);
}

#[tokio::test]
async fn a_passage_that_vanishes_while_its_vector_is_made_is_left_out() {
    let service = service(server(one_vector(384)).await).await;
    let ctx = worker_of(TENANT_A);
    let id = service
        .niche
        .put(TENANT_A, 1, ["mpv", "video player", "video"]);
    documents::index_records(&service.app, &ctx, &[id])
        .await
        .unwrap();
    let mut remover = service.db.admin().await;
    sqlx::raw_sql("begin; delete from search.chunks")
        .execute(&mut remover)
        .await
        .unwrap();
    let removal = async {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        testkit::eventually("the vector waits for the removal", async || {
            let count: i64 = sqlx::query_scalar(waiting)
                .fetch_one(&mut service.db.admin().await)
                .await
                .unwrap();
            (count > 0).then_some(())
        })
        .await;
        sqlx::raw_sql("commit").execute(&mut remover).await.unwrap();
    };
    let ids = [id];
    let (embedded, ()) = tokio::join!(vectors::embed_documents(&service.app, &ctx, &ids), removal);
    embedded.expect("nothing to write is no failure");
}
