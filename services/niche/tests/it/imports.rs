//! Files into records, and what people see of it.

use std::time::Duration;

use kernel::{Clock, ErrorCode, Locale};
use niche::imports::run::{Slice, work_on};
use proto::niche::v1 as pb;
use runtime::Background;
use testkit::{TENANT_B, eventually};

use crate::harness::data;
use crate::import_harness::{
    IMPORTER, Importing, ONE_BATCH, counts, into_packages, packages, turn,
};

#[tokio::test]
async fn a_file_becomes_records_through_the_queue_and_its_progress_is_watched() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let import = ann.upload(packages(1_200)).await.unwrap();
    assert_eq!(
        (import.status.as_str(), import.processed_bytes),
        ("queued", 0)
    );
    let (states, ()) = tokio::join!(ann.watch(&import.id), work_through_the_queue(&importing));
    let states = states.unwrap();
    assert_eq!(states.first().unwrap().status, "queued");
    let ended = states.last().unwrap();
    assert_eq!(
        (ended.status.as_str(), counts(ended)),
        ("succeeded", (1_200, 1_200, 0, 0, 0))
    );
    assert_eq!(ended.processed_bytes, ended.file_bytes);
    assert!(
        states
            .windows(2)
            .all(|pair| pair[0] != pair[1] && pair[0].processed_rows <= pair[1].processed_rows)
    );
    let listed = ann.list(|r| r.limit = 100).await.unwrap();
    assert_eq!(listed.data.len(), 100);
    let one = &listed.data[0];
    let number = crate::harness::name(one).replace("package-", "");
    assert_eq!(
        data(one)["summary"],
        format!("The package, number {number}")
    );
    assert_eq!(data(one)["maintainer_role"], "team");
    assert_eq!(importing.store.keys(), [""; 0], "the file is not kept");
    assert_eq!(
        importing
            .count("select count(*) from niche.import_objects")
            .await,
        0
    );
}

/// Relay and worker, until nothing is left to do.
async fn work_through_the_queue(importing: &Importing) {
    // On the clock of the service, since a delivery has a deadline.
    let broker = events::Broker::connect(testkit::amqp(), importing.service.clock.clone()).unwrap();
    let outbox = db::Outbox::connect(&importing.service.db.config()).unwrap();
    let queue = niche::events_used::imports_queue();
    events::declare(&broker, &queue).await.unwrap();
    loop {
        events::flush(&outbox, &broker).await.unwrap();
        let app = importing.service.app.clone();
        let drained = events::drain(&broker, &queue, move |delivery| {
            let app = app.clone();
            async move {
                let turn = niche::worker::turn(&delivery)?;
                work_on(&app, &delivery.ctx, turn, ONE_BATCH).await
            }
        });
        let drained = drained.await.unwrap();
        assert_eq!((drained.retried, drained.dead), (0, 0));
        if drained.done == 0 {
            break;
        }
    }
}

#[tokio::test]
async fn every_change_is_in_an_event_of_at_most_500_records() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    importing.import(&ann, packages(1_100)).await;
    let events = importing.service.db.events().await;
    let batches: Vec<pb::RecordsImported> = events
        .iter()
        .filter(|event| event.event_type == "records.imported")
        .map(|event| proto::json::from_value(event.data.clone()).unwrap())
        .collect();
    assert_eq!(
        batches
            .iter()
            .map(|b| b.record_ids.len())
            .collect::<Vec<_>>(),
        [500, 500, 100]
    );
    let types: Vec<&str> = events.iter().map(|e| e.event_type.as_str()).collect();
    assert_eq!(types.iter().filter(|t| **t == "import.finished").count(), 1);
    let audited = events
        .iter()
        .any(|e| e.event_type == "audit.recorded" && e.data["action"] == "imports.create");
    assert!(audited, "{types:?}");
}

#[tokio::test]
async fn a_dry_run_tells_and_writes_nothing() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    importing
        .import(&ann, "Package,Section\ncurl,web\nredis,web\n")
        .await;
    let before = importing.service.event_types().await.len();
    let head = pb::CreateImportRequest {
        dry_run: true,
        ..into_packages()
    };
    let csv = "Package,Section\ncurl,web\nredis,database\nnginx,web\nbad name,web\n";
    let import = ann.upload_as(head, csv).await.unwrap();
    let ended = importing.finish(&ann, &import).await;
    assert_eq!(
        (ended.status.as_str(), ended.dry_run, counts(&ended)),
        ("succeeded", true, (4, 1, 1, 1, 1))
    );
    assert_eq!(ann.error_lines(&import.id).await, ["5 Package pattern"]);
    assert_eq!(ann.names(&[]).await.unwrap(), ["curl", "redis"]);
    assert_eq!(ann.names(&["section:database"]).await.unwrap(), [""; 0]);
    let types = importing.service.event_types().await;
    assert_eq!(
        types[before..],
        ["import.queued", "audit.recorded", "import.finished"]
    );
}

#[tokio::test]
async fn the_same_file_again_changes_nothing_and_an_edited_one_only_what_differs() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let csv = packages(700);
    assert_eq!(
        counts(&importing.import(&ann, csv.clone()).await),
        (700, 700, 0, 0, 0)
    );
    let before = importing.service.event_types().await.len();
    assert_eq!(
        counts(&importing.import(&ann, csv.clone()).await),
        (700, 0, 0, 700, 0)
    );
    assert!(
        !importing.service.event_types().await[before..].contains(&"records.imported".to_owned())
    );
    let edited = csv.replace("package-7,1.7,", "package-7,2.0,");
    assert_eq!(
        counts(&importing.import(&ann, edited).await),
        (700, 0, 1, 699, 0)
    );
}

#[tokio::test]
async fn refused_rows_are_listed_in_the_readers_language_and_the_others_go_in() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let csv = "Package;Installed-Size;Priority;Tag\n\
               good;12;optional;a,b\n\
               bad name;12;optional;\n\
               worse;many;never;\n\
               \n\
               short;1\n\
               \"quo\"ted;1;optional;\n\
               last;;;\n";
    let ended = importing.import(&ann, csv).await;
    assert_eq!(
        (ended.status.as_str(), counts(&ended)),
        ("succeeded", (6, 2, 0, 0, 4))
    );
    assert_eq!(ann.names(&[]).await.unwrap(), ["good", "last"]);
    let lines = ann.error_lines(&ended.id).await;
    assert_eq!(
        lines,
        [
            "3 Package pattern",
            "4 Priority one_of",
            "4 Installed-Size type",
            "6  cells",
            "7  quotes"
        ]
    );
    let english = ann.import_errors(&ended.id, 100, "").await.unwrap().data;
    let portuguese = ann
        .speaking(Locale::PtBr)
        .import_errors(&ended.id, 100, "")
        .await
        .unwrap()
        .data;
    let told = |errors: &[pb::ImportError], i: usize| errors[i].message.clone();
    assert_eq!(
        told(&english, 0),
        "Name does not have the expected form. Letters, digits and + . _ : -, without spaces."
    );
    assert_eq!(
        told(&portuguese, 0),
        "Nome não está no formato esperado. Letras, dígitos e + . _ : -, sem espaços."
    );
    assert_eq!(
        told(&english, 2),
        "Installed size (KiB) must be a whole number"
    );
    assert_eq!(
        told(&portuguese, 2),
        "Tamanho instalado (KiB) deve ser um número inteiro"
    );
    assert_eq!(
        told(&english, 3),
        "the row has 2 cells and the header 4; check separators and quotes"
    );
    assert!(
        told(&portuguese, 1).starts_with("Prioridade deve ser um destes valores: "),
        "{portuguese:?}"
    );
    // Page by page, in the order of the file.
    let first = ann.import_errors(&ended.id, 2, "").await.unwrap();
    let cursor = first.meta.unwrap().next_cursor.unwrap();
    let second = ann.import_errors(&ended.id, 100, &cursor).await.unwrap();
    assert_eq!([first.data, second.data].concat(), english);
}

#[tokio::test]
async fn a_column_that_no_field_takes_is_said_and_not_counted() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let ended = importing
        .import(&ann, "Package,Homepgae\ncurl,https://curl.se\n")
        .await;
    assert_eq!(
        (ended.status.as_str(), counts(&ended)),
        ("succeeded", (1, 1, 0, 0, 0))
    );
    assert_eq!(
        ann.error_lines(&ended.id).await,
        ["1 Homepgae unused_column"]
    );
}

#[tokio::test]
async fn cancelling_between_slices_keeps_what_is_written_and_stops_the_rest() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let import = ann.upload(packages(1_400)).await.unwrap();
    importing.slice(&import, 1, ONE_BATCH).await.unwrap();
    assert_eq!(
        importing
            .service
            .event_types()
            .await
            .iter()
            .filter(|t| *t == "import.queued")
            .count(),
        2,
        "it waits for its next slice"
    );
    let cancelled = ann.cancel(&import.id).await.unwrap();
    assert_eq!(
        (cancelled.status.as_str(), counts(&cancelled)),
        ("cancelled", (500, 500, 0, 0, 0))
    );
    importing.slice(&import, 2, Slice::default()).await.unwrap();
    assert_eq!(
        ann.import(&import.id).await.unwrap(),
        cancelled,
        "what comes from the queue later finds nothing to do"
    );
    assert_eq!(
        ann.cancel(&import.id).await.unwrap(),
        cancelled,
        "cancelling twice is once"
    );
    assert_eq!(importing.store.keys(), [""; 0]);
    let done = importing.import(&ann, "Package\ncurl\n").await;
    assert_eq!(
        ann.cancel(&done.id).await.unwrap_err().error_code(),
        ErrorCode::StateConflict
    );
}

#[tokio::test]
async fn a_worker_that_dies_is_replaced_where_it_stood() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let import = ann.upload(packages(6_000)).await.unwrap();
    let ctx = testkit::context()
        .internal("niche")
        .tenant(ann.tenant)
        .build();
    let (app, first) = (importing.service.app.clone(), turn(&import, 1));
    let reached = eventually("the first batches are written", || async {
        Some(ann.import(&import.id).await.unwrap()).filter(|i| i.processed_rows >= 1_000)
    });
    // Dropping the worker's future in the middle is what a crash leaves behind.
    let reached = tokio::select! {
        ended = work_on(&app, &ctx, first, Slice::default()) => panic!("it was to die in the middle: {ended:?}"),
        reached = reached => reached,
    };
    assert!(reached.processed_rows < 6_000);
    // The same event comes back while the lease runs: later. Another event: its own worker has it.
    assert_eq!(
        importing
            .slice(&import, 1, ONE_BATCH)
            .await
            .unwrap_err()
            .error_code(),
        ErrorCode::Conflict
    );
    importing.slice(&import, 2, ONE_BATCH).await.unwrap();
    importing
        .service
        .clock
        .advance(chrono::TimeDelta::seconds(61));
    importing.slice(&import, 1, Slice::default()).await.unwrap();
    let ended = ann.import(&import.id).await.unwrap();
    assert_eq!(
        (ended.status.as_str(), counts(&ended)),
        ("succeeded", (6_000, 6_000, 0, 0, 0)),
        "nothing twice, nothing lost"
    );
    assert_eq!(
        importing.count("select count(*) from niche.records").await,
        6_000
    );
    assert_eq!(
        importing
            .count("select max(version)::bigint from niche.records")
            .await,
        1
    );
}

#[tokio::test]
async fn cancelling_in_the_hands_of_a_worker_stops_it_after_its_batch() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let import = ann.upload(packages(3_000)).await.unwrap();
    // A lease that another worker holds.
    sqlx::query("update niche.imports set status = 'running', lease_event = $1, locked_until = $2")
        .bind(uuid::Uuid::from_u128(9))
        .bind(importing.service.clock.now() + chrono::TimeDelta::seconds(60))
        .execute(&mut importing.service.db.admin().await)
        .await
        .unwrap();
    assert_eq!(ann.cancel(&import.id).await.unwrap().status, "running");
    sqlx::query("update niche.imports set lease_event = null, locked_until = null")
        .execute(&mut importing.service.db.admin().await)
        .await
        .unwrap();
    importing.slice(&import, 1, Slice::default()).await.unwrap();
    let ended = ann.import(&import.id).await.unwrap();
    assert_eq!(
        (ended.status.as_str(), counts(&ended)),
        ("cancelled", (0, 0, 0, 0, 0))
    );
}

#[tokio::test]
async fn another_tenants_import_is_not_there() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let bob = importing.service.bob().await.may(&IMPORTER);
    let import = ann.upload(packages(3)).await.unwrap();
    assert_eq!(bob.tenant, TENANT_B);
    let foreign = bob.import(&import.id).await.unwrap_err();
    let unknown = bob
        .import("01900000-0000-7000-8000-000000000000")
        .await
        .unwrap_err();
    assert_eq!(
        (foreign.error_code(), foreign.message()),
        (ErrorCode::NotFound, unknown.message())
    );
    assert_eq!(
        bob.cancel(&import.id).await.unwrap_err().error_code(),
        ErrorCode::NotFound
    );
    assert_eq!(
        bob.import_errors(&import.id, 0, "")
            .await
            .unwrap_err()
            .error_code(),
        ErrorCode::NotFound
    );
    assert_eq!(
        bob.watch(&import.id).await.unwrap_err().error_code(),
        ErrorCode::NotFound
    );
    assert_eq!(bob.imports_list(0, "", "").await.unwrap().data, []);
    assert_eq!(ann.import(&import.id).await.unwrap().status, "queued");
}

#[tokio::test]
async fn imports_are_listed_newest_first_by_status_and_page() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.insert(0, ann.upload(packages(1)).await.unwrap().id);
        importing
            .service
            .clock
            .advance(chrono::TimeDelta::seconds(1));
    }
    ann.cancel(&ids[1]).await.unwrap();
    let first = ann.imports_list(2, "", "").await.unwrap();
    let cursor = first.meta.unwrap().next_cursor.unwrap();
    let second = ann.imports_list(2, &cursor, "").await.unwrap();
    let listed: Vec<String> = first
        .data
        .iter()
        .chain(&second.data)
        .map(|i| i.id.clone())
        .collect();
    assert_eq!(listed, ids);
    let cancelled = ann.imports_list(0, "", "cancelled").await.unwrap().data;
    assert_eq!(
        cancelled.iter().map(|i| i.id.clone()).collect::<Vec<_>>(),
        [ids[1].clone()]
    );
    assert_eq!(
        ann.imports_list(0, &cursor, "queued")
            .await
            .unwrap_err()
            .error_code(),
        ErrorCode::ValidationError,
        "the cursor is of another list"
    );
}

/// Not a judgement, since the machine is shared and the build may be a debug one: `cargo test --release -p niche --test it speed -- --nocapture`.
#[tokio::test]
async fn speed_of_a_large_file_is_told() {
    let importing = Importing::start().await;
    let ann = importing.ann().await;
    let rows = 20_000;
    let import = ann.upload(packages(rows)).await.unwrap();
    let clock = Clock::system();
    let started = clock.instant();
    let ended = importing.finish(&ann, &import).await;
    let seconds = clock.instant().duration_since(started).as_secs_f64();
    println!(
        "imported {rows} validated records with events in {seconds:.2} s: {:.0} records/s",
        rows as f64 / seconds
    );
    assert_eq!(counts(&ended), (20_000, 20_000, 0, 0, 0));
}

#[tokio::test]
async fn batches_take_turns_with_other_work_in_the_background() {
    let mut importing = Importing::start().await;
    importing.service.app.background = Background::of(1);
    let background = importing.service.app.background.clone();
    let turn = background.turn().await;
    let ann = importing.ann().await;
    let import = ann.upload(packages(600)).await.unwrap();
    let mut working = Box::pin(importing.slice(&import, 1, Slice::default()));
    // Far longer than two batches take.
    let early = tokio::time::timeout(Duration::from_secs(1), &mut working).await;
    assert!(early.is_err(), "it was somebody else's turn");
    let records = "select count(*) from niche.records";
    assert_eq!(importing.count(records).await, 0);
    drop(turn);
    working.await.unwrap();
    assert_eq!(importing.count(records).await, 600);
}
