//! What every operation answers while each dependency is away in each way, against the table in `data/outages.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use campaign::{Extent, Mood};
use testkit::Proxy;

use super::stage::{Measured, OPERATIONS, Stage};

const TABLE: &str = include_str!("../../../data/outages.md");

/// Pieces that come through a slow gate are late by so much.
const SLOW: Duration = Duration::from_millis(200);
/// A flapping gate is shut for so long and open for so long.
const FLAP: Duration = Duration::from_millis(400);
/// Nothing may take longer, however busy the machine is: the deadline of a request and its way.
const HANG: Duration = Duration::from_secs(12);
/// For an answer that needs nothing of what is away, or that knows at once that it is.
const FAST: Duration = Duration::from_millis(1_500);
/// For the first answers that find somebody silent: the deadline of a request.
const DEADLINE: Duration = Duration::from_millis(5_500);

/// A row of the table.
struct Row {
    away: String,
    how: String,
    cells: BTreeMap<&'static str, String>,
}

fn rows() -> Vec<Row> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_matches('|');
        inner
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    let mut lines = TABLE.lines().filter(|line| line.starts_with('|'));
    let head = cells(lines.next().expect("the table has a head"));
    assert_eq!(head[2..], OPERATIONS, "one column per operation");
    lines
        .skip(1)
        .map(|line| {
            let mut row = cells(line);
            assert_eq!(row.len(), head.len(), "{line}");
            let answers = row.split_off(2);
            Row {
                away: row[0].clone(),
                how: row[1].clone(),
                cells: OPERATIONS.into_iter().zip(answers).collect(),
            }
        })
        .collect()
}

#[test]
fn every_dependency_has_a_row_for_every_way_of_being_away() {
    let known: Vec<(String, String)> = rows().into_iter().map(|row| (row.away, row.how)).collect();
    for away in [
        "redis", "rabbitmq", "s3", "embedder", "postgres", "auth", "tenant", "niche", "search",
    ] {
        for how in ["cut", "silent", "slow", "flapping"] {
            let row = (away.to_owned(), how.to_owned());
            assert!(known.contains(&row), "{row:?}");
        }
    }
}

impl Stage {
    fn gate(&self, away: &str) -> &Proxy {
        match away {
            "redis" => &self.gates.redis,
            "rabbitmq" => &self.gates.amqp,
            "s3" => &self.gates.s3,
            "embedder" => &self.embedder_gate,
            "postgres" => &self.gates.postgres,
            service => self.gates.service(service),
        }
    }

    /// Performs every operation `rounds` times while the gate is shut. All at once, as clients come, in an order that none waits for another.
    async fn measure(&self, row: &Row, rounds: usize) -> Vec<(&'static str, Measured)> {
        let gate = self.gate(&row.away);
        let everything = async {
            let mut measured = Vec::new();
            for _ in 0..rounds {
                let all = OPERATIONS
                    .map(|operation| async move { (operation, self.perform(operation).await) });
                measured.extend(futures::future::join_all(all).await);
                if row.how == "flapping" {
                    // sleeps because each round shall find the gate in another phase
                    tokio::time::sleep(FLAP / 3).await;
                }
            }
            measured
        };
        match row.how.as_str() {
            "cut" => gate.cut(),
            "silent" => gate.stall(),
            "slow" => gate.slow(SLOW),
            "failing" => self.embedder.be(Mood::Failing),
            "wrong dimension" => self.embedder.be(Mood::Wide),
            "flapping" => {}
            other => panic!("{other} is no way of being away"),
        }
        let measured = if row.how == "flapping" {
            tokio::select! {
                measured = everything => measured,
                () = flap(gate) => unreachable!("it flaps for ever"),
            }
        } else {
            everything.await
        };
        gate.restore();
        self.embedder.be(Mood::Well);
        measured
    }
}

async fn flap(gate: &Proxy) {
    loop {
        gate.cut();
        // sleeps because a gate that flaps is shut for a while
        tokio::time::sleep(FLAP).await;
        gate.restore();
        // sleeps because a gate that flaps is open for a while
        tokio::time::sleep(FLAP).await;
    }
}

/// What is wrong with a measured answer; nothing when it is one that the table names.
fn deviation(row: &Row, operation: &str, measured: &Measured, extent: Extent) -> Option<String> {
    let expected = &row.cells[operation];
    let place = format!("{} {}: {operation}", row.away, row.how);
    if !expected
        .split(" or ")
        .any(|answer| answer == measured.answer)
    {
        let flaw = measured.flaw.as_deref().unwrap_or_default();
        return Some(format!(
            "{place} answered {}, not {expected} {flaw}",
            measured.answer
        ));
    }
    if let Some(flaw) = &measured.flaw {
        return Some(format!("{place} answered {} {flaw}", measured.answer));
    }
    let limit = match extent {
        Extent::Short => HANG,
        // An upload has no deadline of its own: a store has ten seconds for a part, a connection as long to show that it lives.
        Extent::Long if operation == "upload" || row.how == "slow" => HANG,
        Extent::Long if row.how == "cut" => FAST,
        Extent::Long => DEADLINE,
    };
    (measured.took > limit).then(|| {
        format!(
            "{place} answered {} after {} ms, more than {} ms",
            measured.answer,
            measured.took.as_millis(),
            limit.as_millis()
        )
    })
}

/// The row as it was measured, in the form of the table, with the longest time of each operation.
fn as_measured(row: &Row, measured: &[(&'static str, Measured)]) -> String {
    let mut line = format!("| {} | {} |", row.away, row.how);
    for operation in OPERATIONS {
        let mine = measured.iter().filter(|(name, _)| *name == operation);
        let mut answers: Vec<&str> = mine.clone().map(|(_, m)| m.answer.as_str()).collect();
        answers.sort_unstable();
        answers.dedup();
        let longest = mine.map(|(_, m)| m.took).max().unwrap_or_default();
        let _ = write!(
            line,
            " {} ({} ms) |",
            answers.join(" or "),
            longest.as_millis()
        );
    }
    line
}

/// Walks through the rows that `wanted` chooses and tells everything that is not as the table says.
async fn walk(wanted: impl Fn(&Row) -> bool) {
    let extent = Extent::of_this_run();
    let stage = Stage::set().await;
    let mut deviations = Vec::new();
    for row in rows().into_iter().filter(wanted) {
        let measured = Box::pin(stage.measure(&row, extent.pick(1, 5))).await;
        let recovery = stage.recovered(&OPERATIONS[..13]).await;
        stage.reactivate().await;
        extent.tell("measured", as_measured(&row, &measured));
        extent.tell(
            "  works again after",
            format!("{} ms", recovery.as_millis()),
        );
        for (operation, measured) in &measured {
            deviations.extend(deviation(&row, operation, measured, extent));
        }
        if extent == Extent::Long && recovery > Duration::from_secs(10) {
            deviations.push(format!("{} {}: no recovery within 10 s", row.away, row.how));
        }
    }
    stage.leaves_nothing_half_done().await;
    assert!(deviations.is_empty(), "\n{}", deviations.join("\n"));
    stage.platform.stop().await;
}

impl Stage {
    /// Every effect has its events and every answer its effect: nothing was committed in part.
    async fn leaves_nothing_half_done(&self) {
        let without_event = "niche.records r where not exists (select from niche.outbox o where o.subject = r.id::text \
             union all select from niche.outbox_published o where o.subject = r.id::text \
             union all select from niche.outbox_published o where o.type = 'records.imported' and o.envelope -> 'data' -> 'recordIds' ? r.id::text \
             union all select from niche.outbox o where o.type = 'records.imported' and o.envelope -> 'data' -> 'recordIds' ? r.id::text)";
        assert_eq!(
            self.count(without_event).await,
            0,
            "records without an event"
        );
        let without_event = "tenant.tenants t where not exists (select from tenant.outbox o where o.subject = t.tenant_id::text \
             union all select from tenant.outbox_published o where o.subject = t.tenant_id::text)";
        assert_eq!(
            self.count(without_event).await,
            0,
            "tenants without an event"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_caches_and_stores_that_are_away() {
    let extent = Extent::of_this_run();
    walk(|row| {
        let now = extent == Extent::Long || matches!(row.how.as_str(), "cut" | "silent");
        now && matches!(row.away.as_str(), "redis" | "rabbitmq" | "s3" | "embedder")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away() {
    let extent = Extent::of_this_run();
    walk(|row| {
        let now = extent == Extent::Long || matches!(row.how.as_str(), "cut" | "silent");
        now && row.away == "postgres"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_service_that_is_away() {
    let extent = Extent::of_this_run();
    walk(|row| {
        let service = matches!(row.away.as_str(), "auth" | "tenant" | "niche" | "search");
        let now = extent == Extent::Long || matches!(row.how.as_str(), "cut" | "silent");
        now && service
    })
    .await;
}
