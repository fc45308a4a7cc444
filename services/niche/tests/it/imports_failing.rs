//! Files that cannot be imported, and parts of the platform that are down.

use kernel::{ErrorCode, Locale};
use niche::imports::run::{Slice, Turn, work_on};
use testkit::{ObjectStore, Proxy};

use crate::harness::rules;
use crate::import_harness::{Importing, counts, into_packages, packages, turn};

#[tokio::test]
async fn what_is_no_table_is_refused_while_it_is_sent_and_leaves_nothing() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    for (csv, rule) in [
        (b"".as_slice(), "import.empty"),
        (b"Package\nA\xe7\xe3o\n", "import.not_utf8"),
        (b"PK\x03\x04\x14\0\x06\0", "import.not_text"),
        (b"Package\ncurl\0\n", "import.not_text"),
    ] {
        let error = ann.upload(csv).await.unwrap_err();
        assert_eq!(rules(&error), [format!("file {rule}")], "{csv:?}");
    }
    assert_eq!(
        importing.count("select count(*) from niche.imports").await,
        0
    );
    assert_eq!(
        importing
            .count("select count(*) from niche.import_objects")
            .await,
        0
    );
    assert_eq!(importing.store.keys(), [""; 0]);
}

#[tokio::test]
async fn what_an_import_names_is_checked_before_the_file_is_read() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let code = async |change: fn(&mut proto::niche::v1::CreateImportRequest)| {
        let mut head = into_packages();
        change(&mut head);
        ann.upload_as(head, "Package\ncurl\n")
            .await
            .unwrap_err()
            .error_code()
    };
    assert_eq!(
        code(|h| h.niche = "people".into()).await,
        ErrorCode::NotFound
    );
    assert_eq!(
        code(|h| h.entity = "people".into()).await,
        ErrorCode::NotFound
    );
    assert_eq!(
        code(|h| h.mapping = "unknown".into()).await,
        ErrorCode::ValidationError
    );
    assert_eq!(
        code(|h| h.entity = "Not An Entity".into()).await,
        ErrorCode::ValidationError
    );
    assert_eq!(
        code(|h| h.file.as_mut().unwrap().content_type = "image/png".into()).await,
        ErrorCode::UnsupportedMediaType
    );
    assert_eq!(
        importing
            .count("select count(*) from niche.import_objects")
            .await,
        0
    );
    assert_eq!(
        ann.may(&["records.create"])
            .upload("Package\ncurl\n")
            .await
            .unwrap_err()
            .error_code(),
        ErrorCode::ForbiddenAction
    );
}

#[tokio::test]
async fn a_broken_file_fails_with_one_message_that_says_all() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let failure = async |csv: &str| {
        let ended = importing.import(&ann, csv).await;
        assert_eq!(ended.status, "failed", "{csv:?}");
        (ended.failure.clone().unwrap(), ended)
    };
    let (text, ended) = failure("Version,Section\n1,web\n").await;
    assert_eq!(
        text,
        "the file lacks columns that every record needs: Package (name)"
    );
    assert_eq!(counts(&ended), (0, 0, 0, 0, 0));
    let told = ann
        .speaking(Locale::PtBr)
        .import(&ended.id)
        .await
        .unwrap()
        .failure
        .unwrap();
    assert_eq!(
        told,
        "faltam no arquivo colunas de que todo registro precisa: Package (name)"
    );
    let (text, _) = failure("Package,Section,section,package\n").await;
    assert!(text.contains("section, package"), "{text}");
    assert!(failure("\n\n").await.0.contains("no header"));
    let (text, ended) =
        failure("Package,Summary\ncurl,fine\nredis,\"never closed\nnginx,fine\n").await;
    assert!(
        text.starts_with("a quote that opens in row 3 is never closed"),
        "{text}"
    );
    assert_eq!(counts(&ended), (1, 1, 0, 0, 0), "the rows before it are in");
    let huge = format!("Package,Summary\ncurl,{}\n", "x".repeat(300_000));
    assert!(failure(&huge).await.0.starts_with("row 2 is longer than"));
}

#[tokio::test]
async fn a_header_without_rows_and_every_way_to_write_rows_are_fine() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    for (csv, rows) in [
        ("Package,Section\n", 0),
        ("Package", 0),
        ("\u{feff}Package;Section\r\na1;web\r\nb1;web", 2),
        ("package\tSection\nc1\tweb\n", 1),
        ("name,section\nd1,web\n", 1),
        (
            "Package,Description\ne1,\"first line\nsecond, \"\"quoted\"\"\"\nf1,x\n",
            2,
        ),
    ] {
        let ended = importing.import(&ann, csv).await;
        assert_eq!(
            (ended.status.as_str(), counts(&ended)),
            ("succeeded", (rows, rows, 0, 0, 0)),
            "{csv:?}: {:?}",
            ended.failure
        );
        assert_eq!(ended.processed_bytes, ended.file_bytes);
    }
}

#[tokio::test]
async fn a_store_that_is_down_refuses_uploads_and_makes_workers_try_again() {
    let store = ObjectStore::start().await;
    let proxy = Proxy::to(store.url()).await;
    let endpoint = proxy.url_of(store.url());
    let importing = Importing::with_endpoint(store, &endpoint).await;
    let ann = importing.ann().await;
    let import = ann.upload(packages(10)).await.unwrap();
    proxy.cut();
    let error = ann.upload(packages(10)).await.unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::ServiceUnavailable);
    assert_eq!(
        importing.count("select count(*) from niche.imports").await,
        1
    );
    let error = importing
        .slice(&import, 1, Slice::default())
        .await
        .unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::ServiceUnavailable);
    assert_eq!(ann.import(&import.id).await.unwrap().status, "running");
    proxy.restore();
    importing.slice(&import, 1, Slice::default()).await.unwrap();
    let ended = ann.import(&import.id).await.unwrap();
    assert_eq!(
        (ended.status.as_str(), counts(&ended)),
        ("succeeded", (10, 10, 0, 0, 0)),
        "the lease was given back"
    );
}

#[tokio::test]
async fn after_the_last_attempt_an_import_has_failed_and_says_so() {
    let store = ObjectStore::start().await;
    let proxy = Proxy::to(store.url()).await;
    let endpoint = proxy.url_of(store.url());
    let importing = Importing::with_endpoint(store, &endpoint).await;
    let ann = importing.ann().await;
    let import = ann.upload(packages(10)).await.unwrap();
    proxy.cut();
    let ctx = testkit::context()
        .internal("niche")
        .tenant(ann.tenant)
        .build();
    let last = Turn {
        is_last_attempt: true,
        ..turn(&import, 1)
    };
    work_on(&importing.service.app, &ctx, last, Slice::default())
        .await
        .unwrap_err();
    let ended = ann.import(&import.id).await.unwrap();
    assert_eq!(ended.status, "failed");
    assert!(ended.failure.unwrap().contains("tried many times"));
    proxy.restore();
    importing
        .service
        .clock
        .advance(chrono::TimeDelta::seconds(1));
    let swept = niche::imports::sweep_objects(
        &importing.service.app,
        &testkit::context().internal("niche").build(),
    )
    .await
    .unwrap();
    assert_eq!(
        (swept, importing.store.keys()),
        (1, Vec::new()),
        "the sweep deletes what could not be deleted at the end"
    );
}

#[tokio::test]
async fn a_file_that_vanished_is_a_failure_in_words() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let import = ann.upload(packages(10)).await.unwrap();
    for key in importing.store.keys() {
        importing.service.app.objects.delete(&key).await.unwrap();
    }
    let ended = importing.finish(&ann, &import).await;
    assert_eq!(ended.status, "failed");
    assert!(
        ended
            .failure
            .unwrap()
            .contains("not in the object store any more")
    );
}
