//! What the callers do, over and over.

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::StatusCode;
use runtime::Shutdown;
use serde_json::{Value, json};

use super::{Call, Caller, Ledger, Outcome, Written};

/// Between two acts of a caller: a load that leaves the machine some room for the restarts.
const BREATH: Duration = Duration::from_millis(20);
const RECORDS: &str = "/v1/niches/software-catalog/packages/records";
const IMPORTS: &str = "/v1/niches/software-catalog/packages/imports";

/// How many rows an import has.
#[derive(Clone, Copy, Debug)]
pub struct RowsPerImport(pub usize);

/// Creates, changes and deletes records until `stop`. Names begin with `label`.
pub async fn keep_writing(caller: Caller, label: String, stop: Shutdown) -> Ledger {
    let mut ledger = Ledger::default();
    let mut turn = 0_usize;
    while !stop.is_begun() {
        turn += 1;
        let name = format!("{label}-{turn}");
        if turn.is_multiple_of(9) {
            leave_open(&caller, &mut ledger, name).await;
        } else {
            create(&caller, &mut ledger, &name).await;
            if turn.is_multiple_of(2) {
                change(&caller, &mut ledger, &name).await;
            }
            if turn.is_multiple_of(5) {
                delete(&caller, &mut ledger, &name).await;
            }
        }
        stop.or(tokio::time::sleep(BREATH)).await;
    }
    ledger
}

fn content(name: &str, summary: &str) -> Value {
    json!({"data": {"name": name, "section": "web", "summary": summary}})
}

async fn create(caller: &Caller, ledger: &mut Ledger, name: &str) {
    let key = format!("create-{name}");
    let call = Call::post(RECORDS, content(name, "new")).key(&key);
    let (status, body) = caller.known(&call).await;
    if status != StatusCode::CREATED {
        return ledger.contradiction(format!("creating {name} answered {status}: {body}"));
    }
    let id = body["data"]["id"].as_str().unwrap_or_default().to_owned();
    ledger.act("records.create", &id);
    ledger.records.insert(
        name.to_owned(),
        Written {
            id,
            version: 1,
            is_deleted: false,
        },
    );
    // Whoever asks again with the same key gets the same answer.
    let (again, replayed) = caller.known(&call).await;
    if (again, &replayed["data"]) != (status, &body["data"]) {
        ledger.contradiction(format!(
            "creating {name} again answered {again} {replayed}, before it was {body}"
        ));
    }
}

/// Sends it once and goes away, whatever comes of it.
async fn leave_open(caller: &Caller, ledger: &mut Ledger, name: String) {
    let key = format!("create-{name}");
    let call = Call::post(RECORDS, content(&name, "new")).key(&key);
    match caller.once(&call).await {
        Outcome::Unknown(_) => drop(ledger.open.insert(name, key)),
        Outcome::Known(..) => create(caller, ledger, &name).await,
    }
}

async fn change(caller: &Caller, ledger: &mut Ledger, name: &str) {
    let Some(written) = ledger.records.get(name).cloned() else {
        return;
    };
    let version = written.version + 1;
    let patch = json!({"data": {"summary": format!("version {version}")}});
    let call = Call::patch(format!("{RECORDS}/{}", written.id), patch)
        .key(format!("change-{name}-{version}"));
    let (status, body) = caller.known(&call).await;
    if status != StatusCode::OK || body["data"]["version"] != version {
        return ledger.contradiction(format!(
            "changing {name} to version {version} answered {status}: {body}"
        ));
    }
    ledger.act("records.update", &written.id);
    ledger
        .records
        .insert(name.to_owned(), Written { version, ..written });
}

async fn delete(caller: &Caller, ledger: &mut Ledger, name: &str) {
    let Some(written) = ledger.records.get(name).cloned() else {
        return;
    };
    let call = Call::delete(format!("{RECORDS}/{}", written.id));
    let (status, body) = caller.known(&call).await;
    // An attempt of unknown outcome may have deleted it.
    if !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_FOUND) {
        return ledger.contradiction(format!("deleting {name} answered {status}: {body}"));
    }
    ledger.act("records.delete", &written.id);
    let deleted = Written {
        is_deleted: true,
        ..written
    };
    ledger.records.insert(name.to_owned(), deleted);
}

/// Uploads one file after another until `stop`, waiting for the end of each.
pub async fn keep_importing(
    caller: Caller,
    label: String,
    rows: RowsPerImport,
    stop: Shutdown,
) -> Ledger {
    let mut ledger = Ledger::default();
    let mut turn = 0;
    while !stop.is_begun() {
        turn += 1;
        let part = format!("{label}-{turn}-row");
        let call = Call::upload(IMPORTS, file(&part, rows)).key(format!("import-{part}"));
        let (status, body) = caller.known(&call).await;
        if status != StatusCode::ACCEPTED {
            ledger.contradiction(format!("uploading {part} answered {status}: {body}"));
            continue;
        }
        let id = body["data"]["id"].as_str().unwrap_or_default().to_owned();
        ledger.act("imports.create", &id);
        ledger.imports.insert(id.clone(), (part, rows.0));
        let progress = Call::get(format!("/v1/imports/{id}"));
        while !stop.is_begun() {
            let (_, import) = caller.known(&progress).await;
            if !matches!(
                import["data"]["status"].as_str(),
                Some("queued" | "running")
            ) {
                break;
            }
            stop.or(tokio::time::sleep(BREATH * 10)).await;
        }
    }
    ledger
}

fn file(part: &str, rows: RowsPerImport) -> String {
    let mut csv = "Package,Section,Summary\n".to_owned();
    for row in 1..=rows.0 {
        // Writing to a text cannot fail.
        let _ = writeln!(csv, "{part}{row},database,a row of a file number {row}");
    }
    csv
}

/// Creates tenants, suspends and reactivates them until `stop`; the caller is platform staff.
pub async fn keep_creating_tenants(caller: Caller, label: String, stop: Shutdown) -> Ledger {
    let mut ledger = Ledger::default();
    let mut turn = 0;
    while !stop.is_begun() {
        turn += 1;
        let slug = format!("{label}-{turn}");
        let owner = json!({"email": format!("{slug}@example.com"), "name": "Olga"});
        let wanted = json!({"slug": slug, "name": "Casa Azul", "adminUser": owner});
        let call = Call::post("/v1/tenants", wanted).key(format!("tenant-{slug}"));
        let (status, body) = caller.known(&call).await;
        let id = body["data"]["id"].as_str().unwrap_or_default().to_owned();
        if status != StatusCode::CREATED {
            ledger.contradiction(format!("creating {slug} answered {status}: {body}"));
            continue;
        }
        ledger.act("tenants.create", &id);
        ledger.tenants.insert(id.clone(), "active".to_owned());
        let suspend = ("suspend", "suspended", json!({"reason": "a test"}));
        let reactivate = ("reactivate", "active", json!({}));
        for (act, status, body) in [suspend, reactivate].into_iter().take(1 + turn % 2) {
            let call = Call::post(format!("/v1/tenants/{id}/{act}"), body);
            let (code, answer) = caller.known(&call).await;
            if code != StatusCode::OK || answer["data"]["status"] != status {
                ledger.contradiction(format!("to {act} {slug} answered {code}: {answer}"));
                break;
            }
            ledger.act(&format!("tenants.{act}"), &id);
            ledger.tenants.insert(id.clone(), status.to_owned());
        }
        stop.or(tokio::time::sleep(BREATH * 5)).await;
    }
    ledger
}

/// Refreshes a session until `stop`: each pair of tokens is exchanged once, and again when its answer got lost.
pub async fn keep_refreshing(caller: Caller, first: String, stop: Shutdown) -> Ledger {
    let mut ledger = Ledger::default();
    let mut token = first;
    while !stop.is_begun() {
        let call = Call::post("/v1/auth/refresh", json!({"refreshToken": token}));
        let (status, body) = caller.known(&call).await;
        match body["data"]["refreshToken"].as_str() {
            Some(next) if status == StatusCode::OK && next != token => token = next.to_owned(),
            _ => {
                ledger.contradiction(format!("a refresh answered {status}: {body}"));
                return ledger;
            }
        }
        stop.or(tokio::time::sleep(BREATH * 10)).await;
    }
    ledger
}

/// Reads the newest records and the caller's own account until `stop`, without a pause.
pub async fn keep_reading(caller: Caller, stop: Shutdown) -> Ledger {
    let mut ledger = Ledger::default();
    let calls = [
        Call::get("/v1/me"),
        Call::get(format!("{RECORDS}?limit=5")),
        Call::post("/v1/search", json!({"query": "version", "limit": 3})),
    ];
    for call in calls.iter().cycle() {
        if stop.is_begun() {
            break;
        }
        let (status, body) = caller.known(call).await;
        if status != StatusCode::OK {
            ledger.contradiction(format!("{call:?} answered {status}: {body}"));
        }
        stop.or(tokio::time::sleep(BREATH / 4)).await;
    }
    ledger
}
