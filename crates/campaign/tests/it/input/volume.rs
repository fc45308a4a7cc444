//! Much of everything in bounded memory: a file of a gigabyte coming in, answers that nobody takes going out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use campaign::Extent;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::input::grpc::resident_kib;
use crate::input::stage::{House, IMPORTS, RECORDS, Stage};
use crate::input::wire::{Answer, canary, get, talk};

/// How much the whole platform may grow meanwhile, all of it being in this process with the object store. Asserted in the long form, in
/// which no other test shares the process.
const GROWTH_KIB_MAX: u64 = 100 * 1024;

/// Watches the memory of the process until told to stop, and tells the most that it saw.
fn watch() -> (Arc<AtomicBool>, Arc<AtomicU64>, std::thread::JoinHandle<()>) {
    let (stop, most) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&most));
    let watching = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            seen.fetch_max(resident_kib(), Ordering::Relaxed);
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    (stop, most, watching)
}

/// Rows that the import refuses at once, so that what is measured is the way of the bytes.
fn part(number: u64) -> String {
    let cell = "x".repeat(1_000);
    (0..64)
        .map(|row| format!("not a name {number}-{row},{cell}\n"))
        .collect()
}

async fn upload(stage: &Stage, house: &House, bytes: u64) -> Answer {
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    let head = format!(
        "POST {IMPORTS}?dryRun=true HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n10\r\nPackage,Section\n\r\n",
        house.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut sent = 0;
    let mut number = 0;
    while sent < bytes {
        let part = part(number);
        let chunk = format!("{:x}\r\n{part}\r\n", part.len());
        stream.write_all(chunk.as_bytes()).await.unwrap();
        sent += part.len() as u64;
        number += 1;
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    crate::input::wire::answer_of(&mut stream).await
}

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::disallowed_methods,
    reason = "what is measured or forged here is real time"
)]
async fn a_large_file_streams_through_in_bounded_memory() {
    let extent = Extent::of_this_run();
    let stage = Stage::start(&[]).await;
    let house = stage.house("Ana").await;
    // Buffers, pools and caches are there before the measuring begins.
    assert_eq!(upload(&stage, &house, 8 << 20).await.status, 202);
    let before = resident_kib();
    let (stop, most, watching) = watch();
    let began = Instant::now();
    // The largest that is taken, less a part.
    let bytes = extent.pick(32 << 20, (1 << 30) - (128 << 10));
    let answer = upload(&stage, &house, bytes).await;
    let elapsed = began.elapsed();
    canary(stage.address, "a large file").await;
    stop.store(true, Ordering::Relaxed);
    watching.join().unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
    let grown = most.load(Ordering::Relaxed).saturating_sub(before);
    extent.tell("MiB uploaded", bytes >> 20);
    extent.tell("seconds", elapsed.as_secs_f64());
    extent.tell("KiB that the process grew by at most", grown);
    if extent == Extent::Long {
        assert!(grown < GROWTH_KIB_MAX, "the process grew by {grown} KiB");
        let over = upload_over(&stage, &house).await;
        assert_eq!(over, Some(413));
    }
    stage.platform.stop().await;
}

/// A file larger than any that is taken is refused, whatever it announces.
async fn upload_over(stage: &Stage, house: &House) -> Option<u16> {
    let head = format!(
        "POST {IMPORTS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: text/csv\r\nContent-Length: {}\r\n\r\nPackage\n",
        house.token,
        2_u64 << 30,
    );
    talk(stage.address, head.as_bytes())
        .await
        .statuses()
        .first()
        .copied()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_are_not_piled_up() {
    let extent = Extent::of_this_run();
    let stage = Stage::start(&[
        ("GATEWAY_HEARTBEAT_MS", "10"),
        ("GATEWAY_KEEP_ALIVE_MS", "1000"),
        ("GATEWAY_HEAD_TIMEOUT_MS", "1000"),
    ])
    .await;
    let house = stage.house("Ana").await;
    let own = format!("Authorization: Bearer {}\r\n", house.token);
    let list = get(&format!("{RECORDS}?limit=100"), &own).repeat(200);
    let events = get(&format!("/v1/imports/{}/progress", house.import_id), &own);
    let before = resident_kib();
    let (stop, most, watching) = watch();
    let mut deaf = Vec::new();
    for _ in 0..extent.pick(10, 100) {
        for request in [&list, &events] {
            let mut stream = TcpStream::connect(stage.address).await.unwrap();
            // A full buffer at the other end is the point: nothing is read here.
            let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(request)).await;
            deaf.push(stream);
        }
    }
    canary(stage.address, "deaf clients").await;
    stop.store(true, Ordering::Relaxed);
    watching.join().unwrap();
    let grown = most.load(Ordering::Relaxed).saturating_sub(before);
    extent.tell("deaf clients", deaf.len());
    extent.tell("KiB that the process grew by at most", grown);
    assert!(
        extent == Extent::Short || grown < GROWTH_KIB_MAX,
        "the process grew by {grown} KiB"
    );
    stage.platform.stop().await;
}
