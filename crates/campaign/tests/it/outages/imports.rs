//! The object store and the embedder away while imports and records go on.

use campaign::{Extent, Mood};
use serde_json::{Value, json};
use testkit::eventually;

use super::broker::RawBroker;
use super::stage::Stage;

const SECONDS_WITHOUT_PROGRESS: u32 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn an_import_waits_for_the_object_store_and_loses_no_row() {
    let rows = Extent::of_this_run().pick(300, 20_000);
    let stage = Stage::set().await;
    let raw = RawBroker::connect(&stage.amqp).await;
    // The worker hears of the import only when the store is away.
    stage.gates.amqp.cut();
    let mut file = "name,section\n".to_owned();
    for n in 0..rows {
        file.push_str(&format!("imported-{n},web\n"));
    }
    let import = stage.import(file).await;
    stage.gates.s3.cut();
    stage.gates.amqp.restore();
    eventually("the import waits for its second attempt", async || {
        (raw.depth("niche.imports.retry.5s").await > 0).then_some(())
    })
    .await;
    let waiting = stage.import_status(&import).await;
    assert!(
        matches!(waiting["status"].as_str(), Some("queued" | "running")),
        "{waiting}"
    );
    stage.gates.s3.restore();
    let seen = finished(&stage, &import).await;
    assert_eq!(seen["status"], "succeeded", "{seen}");
    assert_eq!(seen["createdRows"].as_i64(), Some(rows), "{seen}");
    let imported = "niche.records where data ->> 'name' like 'imported-%'";
    assert_eq!(stage.count(imported).await, rows);
    stage.platform.stop().await;
}

/// The import when it no longer runs, or when it has come no further in so many seconds.
async fn finished(stage: &Stage, import: &str) -> Value {
    let (mut rows, mut still) = (Value::Null, 0);
    loop {
        let seen = stage.import_status(import).await;
        let is_under_way = matches!(seen["status"].as_str(), Some("queued" | "running"));
        still = if seen["processedRows"] == rows {
            still + 1
        } else {
            0
        };
        if !is_under_way || still > SECONDS_WITHOUT_PROGRESS {
            return seen;
        }
        rows = seen["processedRows"].clone();
        // sleeps because the ladder's first pause is five seconds
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedder_that_answers_nonsense_leaves_records_pending_and_findable_by_words() {
    let extent = Extent::of_this_run();
    let stage = Stage::set().await;
    let moods: &[Mood] = match extent {
        Extent::Short => &[Mood::Wide],
        Extent::Long => &[Mood::Wide, Mood::Garbled, Mood::Failing, Mood::Slow],
    };
    for mood in moods {
        stage.embedder.be(*mood);
        let vectors = stage.count("search.embeddings").await;
        let name = super::stage::unique();
        stage.create(&name).await;
        let query = json!({"query": name, "mode": "keyword"});
        eventually("the record is found by its words", async || {
            let found = stage.search(&query).await;
            (found["data"].as_array().map(Vec::len) == Some(1)).then_some(())
        })
        .await;
        let calls = stage.embedder.calls();
        eventually("the embedder was asked", async || {
            (stage.embedder.calls() > 0 && calls > 0).then_some(())
        })
        .await;
        let hybrid = stage.search(&json!({"query": name})).await;
        assert_eq!(hybrid["meta"]["degraded"], true, "{mood:?}: {hybrid}");
        assert_eq!(hybrid["data"].as_array().map(Vec::len), Some(1));
        let status = stage.index_status().await;
        assert_eq!(status["pendingEmbeddings"], 1, "{mood:?}: {status}");
        assert_eq!(
            stage.count("search.embeddings").await,
            vectors,
            "{mood:?}: nothing of it is stored"
        );
        stage.embedder.be(Mood::Well);
        for _ in 0..20 {
            if stage.index_status().await["pendingEmbeddings"] == 0 {
                break;
            }
            // sleeps because the ladder's first pauses are seconds
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        assert_eq!(stage.count("search.embeddings").await, vectors + 1);
        let hybrid = stage.search(&json!({"query": name})).await;
        assert_ne!(hybrid["meta"]["degraded"], true, "{mood:?}: {hybrid}");
    }
    stage.platform.stop().await;
}
