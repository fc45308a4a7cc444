//! Uploads: large ones, broken ones, repeated ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use chrono::TimeDelta;
use futures::{StreamExt as _, stream};
use kernel::ErrorCode;
use testkit::{ObjectStore, Proxy, eventually};

use crate::import_harness::{Importing, counts, into_packages, messages, packages};

const PIECE: usize = 128 * 1024;
/// What may lie between a caller and a store that takes nothing: parts of 5 MiB on both sides of the queue, and the windows of HTTP/2.
const IN_FLIGHT_MAX: usize = 24 * 1024 * 1024;

#[tokio::test]
async fn an_upload_is_no_larger_in_memory_than_what_the_store_has_yet_to_take() {
    let store = ObjectStore::start().await;
    let proxy = Proxy::to(store.url()).await;
    let endpoint = proxy.url_of(store.url());
    let importing = Importing::with_endpoint(store, &endpoint).await;
    let ann = importing.ann().await;
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let piece = Bytes::from("Package\n".repeat(PIECE / 8));
    let pieces = stream::iter(0..100 * 1024 * 1024 / PIECE).map(move |_| {
        count.fetch_add(PIECE, Ordering::SeqCst);
        piece.clone()
    });
    proxy.stall();
    let mut last = (0, 0);
    let stopped = eventually("the source is no longer asked for more", || {
        let now = taken.load(Ordering::SeqCst);
        last = (
            now,
            if now == last.0 && now > 0 {
                last.1 + 1
            } else {
                0
            },
        );
        async move { (last.1 > 25).then_some(now) }
    });
    let stopped = tokio::select! {
        sent = ann.send(messages(into_packages(), pieces)) => panic!("the store takes nothing, so this cannot end: {sent:?}"),
        stopped = stopped => stopped,
    };
    assert!(
        stopped < IN_FLIGHT_MAX,
        "{stopped} bytes were taken while the store took none"
    );
    proxy.restore();
}

#[tokio::test]
async fn a_file_of_several_parts_arrives_whole() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let filler = "x".repeat(480);
    let mut csv = String::from("Package,Summary\n");
    for n in 0..24_000 {
        // Mostly one package, so that the file is large and the work is small.
        csv.push_str(&format!("package-{},{filler}\n", n / 6_000));
    }
    assert!(csv.len() > 11 * 1024 * 1024);
    let ended = importing.import(&ann, csv.clone()).await;
    assert_eq!(
        (ended.status.as_str(), ended.file_bytes),
        ("succeeded", csv.len() as i64)
    );
    let (rows, created, updated, unchanged, failed) = counts(&ended);
    assert_eq!(
        (rows, created, updated, unchanged, failed),
        (24_000, 4, 0, 23_996, 0)
    );
}

#[tokio::test]
async fn an_upload_that_ends_early_leaves_no_import_and_no_object() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let begun = stream::iter([Bytes::from(packages(60_000))])
        .map(|all| all.slice(..3_000_000))
        .chain(stream::pending());
    let noted = eventually("the upload has begun", || async {
        (importing
            .count("select count(*) from niche.import_objects")
            .await
            == 1)
            .then_some(())
    });
    // The caller goes away when its future is dropped.
    tokio::select! {
        sent = ann.send(messages(into_packages(), begun)) => panic!("the file has no end: {sent:?}"),
        () = noted => {}
    }
    eventually("the service has noticed", || async {
        (importing.service.app.uploads.available_permits() == 8).then_some(())
    })
    .await;
    assert_eq!(
        importing.count("select count(*) from niche.imports").await,
        0
    );
    assert_eq!(importing.store.keys(), [""; 0]);
    importing.service.clock.advance(TimeDelta::hours(4));
    let ctx = testkit::context().internal("niche").build();
    niche::imports::sweep_objects(&importing.service.app, &ctx)
        .await
        .unwrap();
    assert_eq!(
        importing
            .count("select count(*) from niche.import_objects")
            .await,
        0
    );
}

#[tokio::test]
async fn repeating_an_upload_with_its_key_answers_the_first_import() {
    let importing = Importing::start().await;
    let ann = importing.ann().await.with_key("import-1");
    let first = ann.upload(packages(5)).await.unwrap();
    assert_eq!(ann.upload(packages(5)).await.unwrap(), first);
    assert_eq!(
        importing.count("select count(*) from niche.imports").await,
        1
    );
    assert_eq!(
        importing.store.keys().len(),
        1,
        "the second file is not kept"
    );
    assert_eq!(
        ann.upload(packages(6)).await.unwrap_err().error_code(),
        ErrorCode::IdempotencyKeyReused
    );
    assert_eq!(importing.store.keys().len(), 1);
    let ended = importing.finish(&ann, &first).await;
    assert_eq!(counts(&ended), (5, 5, 0, 0, 0));
}
