//! The reckoning: what is in the databases against what the callers were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use crate::Fleet;
use crate::load::{Call, Caller, Ledger, Written};

const SERVICES: [&str; 4] = ["auth", "tenant", "niche", "search"];
const QUEUES: [&str; 5] = [
    "auth.tenants",
    "niche.imports",
    "search.records",
    "search.embeddings",
    "tenant.audit",
];
/// How often the books are compared until they agree.
const LOOK: Duration = Duration::from_millis(500);

/// A tenant's name and id, and the signed-in caller who writes into it.
pub struct House {
    /// What the names of its records begin with.
    pub label: String,
    /// The tenant.
    pub tenant_id: String,
    /// Somebody who writes into it.
    pub caller: Caller,
}

impl House {
    /// Registers an owner with a tenant and the niche of packages, who then calls as `anybody` does.
    pub async fn open(fleet: &Fleet, label: &str, anybody: &Caller) -> Self {
        let resident = fleet.settle(label, "house").await;
        let wanted = json!({"kit": "software-catalog"});
        resident.client.post("/v1/niches", &wanted).await.unwrap();
        Self {
            label: label.to_owned(),
            tenant_id: resident.tenant_id,
            caller: anybody.with_token(resident.client.token().unwrap()),
        }
    }
}

/// What was left open is decided now: it exists at most once, and whoever repeats it with its key gets that one.
pub async fn close_open(fleet: &Fleet, houses: &[House], ledger: &mut Ledger) -> usize {
    let open = std::mem::take(&mut ledger.open);
    let mut admin = fleet.db.admin().await;
    for (name, key) in &open {
        let house = houses.iter().find(|house| name.starts_with(&house.label));
        let house = house.expect("a name begins with its house");
        let found: Vec<String> =
            sqlx::query_scalar("select id::text from niche.records where data->>'name' = $1")
                .bind(name)
                .fetch_all(&mut admin)
                .await
                .unwrap();
        let wish = json!({"data": {"name": name, "section": "web", "summary": "new"}});
        let path = "/v1/niches/software-catalog/packages/records";
        let (status, body) = house.caller.known(&Call::post(path, wish).key(key)).await;
        let id = body["data"]["id"].as_str().unwrap_or_default().to_owned();
        if status != StatusCode::CREATED || found.len() > 1 || found.iter().any(|one| *one != id) {
            ledger.contradiction(format!(
                "{name} existed as {found:?} and its repetition answered {status}: {body}"
            ));
        }
        ledger.act("records.create", &id);
        let written = Written {
            id,
            version: 1,
            is_deleted: false,
        };
        ledger.records.insert(name.clone(), written);
    }
    open.len()
}

/// Waits until everything that was set in motion has come to rest and the books agree; fails with what they disagree about.
pub async fn settle(fleet: &Fleet, houses: &[House], ledger: &Ledger, patience: Duration) {
    assert_eq!(ledger.contradictions, Vec::<String>::new());
    let mut admin = fleet.db.admin().await;
    let mut differences = vec!["nothing was compared".to_owned()];
    let comparing = async {
        loop {
            differences = compare(fleet, &mut admin, houses, ledger).await;
            if differences.is_empty() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let agreed = tokio::time::timeout(patience, comparing).await;
    assert!(
        agreed.is_ok(),
        "after {} s the books still disagree:\n{}",
        patience.as_secs(),
        differences.join("\n")
    );
}

async fn compare(
    fleet: &Fleet,
    admin: &mut PgConnection,
    houses: &[House],
    ledger: &Ledger,
) -> Vec<String> {
    let mut differences = Vec::new();
    outboxes(admin, &mut differences).await;
    imports(admin, ledger, &mut differences).await;
    if !differences.is_empty() {
        // The rest can only agree when nothing is under way.
        return differences;
    }
    for house in houses {
        records(admin, house, ledger, &mut differences).await;
    }
    index(admin, &mut differences).await;
    acts(admin, houses, ledger, &mut differences).await;
    tenants(admin, ledger, &mut differences).await;
    if differences.is_empty() {
        dead_letters(fleet, &mut differences).await;
    }
    differences.truncate(20);
    differences
}

/// Every event has left its outbox, and left it once.
async fn outboxes(admin: &mut PgConnection, differences: &mut Vec<String>) {
    for service in SERVICES {
        let waiting = count(admin, &format!("select count(*) from {service}.outbox")).await;
        if waiting != 0 {
            differences.push(format!("{waiting} events wait in the outbox of {service}"));
        }
        let twice = format!("select count(*) - count(distinct id) from {service}.outbox_published");
        let twice = count(admin, &twice).await;
        if twice != 0 {
            differences.push(format!("{twice} events left the outbox of {service} twice"));
        }
    }
}

async fn imports(admin: &mut PgConnection, ledger: &Ledger, differences: &mut Vec<String>) {
    let rows = sqlx::query(
        "select id::text, status, processed_rows, created_rows, failed_rows, unchanged_rows, updated_rows from niche.imports",
    )
    .fetch_all(admin)
    .await
    .unwrap();
    let found: BTreeMap<String, (String, [i64; 5])> = rows
        .iter()
        .map(|row| {
            (
                row.get(0),
                (row.get(1), [2, 3, 4, 5, 6].map(|column| row.get(column))),
            )
        })
        .collect();
    let expected: BTreeMap<String, (String, [i64; 5])> = ledger
        .imports
        .iter()
        .map(|(id, (_, rows))| {
            let rows = *rows as i64;
            (id.clone(), ("succeeded".to_owned(), [rows, rows, 0, 0, 0]))
        })
        .collect();
    differ("import", &expected, &found, differences);
}

/// Every acknowledged write exists once, and nothing else does.
async fn records(
    admin: &mut PgConnection,
    house: &House,
    ledger: &Ledger,
    differences: &mut Vec<String>,
) {
    let rows = sqlx::query(
        "select data->>'name', id::text, version::bigint from niche.records where tenant_id = $1::text::uuid",
    )
    .bind(&house.tenant_id)
    .fetch_all(admin)
    .await
    .unwrap();
    let mut found: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
    let mut rows_found: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows {
        let name: String = row.get(0);
        match name.rsplit_once("-row") {
            Some((part, _)) => *rows_found.entry(format!("{part}-row")).or_default() += 1,
            None => found
                .entry(name)
                .or_default()
                .push((row.get(1), row.get(2))),
        }
    }
    let own = |name: &&String| name.starts_with(&format!("{}-", house.label));
    let expected: BTreeMap<String, Vec<(String, i64)>> = ledger
        .records
        .iter()
        .filter(|(name, written)| own(name) && !written.is_deleted)
        .map(|(name, written)| (name.clone(), vec![(written.id.clone(), written.version)]))
        .collect();
    differ("record", &expected, &found, differences);
    let rows_expected: BTreeMap<String, i64> = ledger
        .imports
        .values()
        .filter(|(part, _)| own(&part))
        .map(|(part, rows)| (part.clone(), *rows as i64))
        .collect();
    differ("rows of", &rows_expected, &rows_found, differences);
}

/// The index has every record in its present version, nothing else, and an embedding of every passage.
async fn index(admin: &mut PgConnection, differences: &mut Vec<String>) {
    for (what, sql) in [
        (
            "records that search does not have as they are",
            "select count(*) from niche.records r left join search.documents d using (tenant_id, id)
             where d.record_version is distinct from r.version",
        ),
        (
            "documents of records that are gone",
            "select count(*) from search.documents d left join niche.records r using (tenant_id, id) where r.id is null",
        ),
        (
            "passages without an embedding of their content",
            "select count(*) from search.chunks c left join search.embeddings e using (tenant_id, document_id, ordinal)
             where e.content_hash is distinct from c.content_hash",
        ),
    ] {
        let wrong = count(admin, sql).await;
        if wrong != 0 {
            differences.push(format!("{wrong} {what}"));
        }
    }
}

/// One audit entry per event, and one per acknowledged act.
async fn acts(
    admin: &mut PgConnection,
    houses: &[House],
    ledger: &Ledger,
    differences: &mut Vec<String>,
) {
    let events = SERVICES.map(|service| {
        format!("select id from {service}.outbox_published where type = 'audit.recorded'")
    });
    let unheard = format!(
        "select count(*) from ({}) as e full join tenant.audit_logs a using (id) where e.id is null or a.id is null",
        events.join(" union all ")
    );
    let unheard = count(admin, &unheard).await;
    if unheard != 0 {
        differences.push(format!("{unheard} audit events without their one entry"));
    }
    let known: BTreeSet<&str> = ledger.acts.keys().map(|(act, _)| act.as_str()).collect();
    // A proof may act in tenants of its own, which are in no books.
    let kept: Vec<&str> = houses
        .iter()
        .map(|house| house.tenant_id.as_str())
        .collect();
    let rows = sqlx::query(
        "select action, entity_id, count(*) from tenant.audit_logs
         where action like 'tenants.%' or tenant_id::text = any($1) group by 1, 2",
    )
    .bind(kept)
    .fetch_all(admin)
    .await
    .unwrap();
    let found: BTreeMap<(String, String), i64> = rows
        .iter()
        .map(|row| ((row.get(0), row.get(1)), row.get(2)))
        .filter(|((action, entity), _): &((String, String), i64)| {
            known.contains(action.as_str())
                && (!action.starts_with("tenants.") || ledger.tenants.contains_key(entity))
        })
        .collect();
    differ("audited act", &ledger.acts, &found, differences);
}

/// Auth has the same tenants in the same state as the service that owns them.
async fn tenants(admin: &mut PgConnection, ledger: &Ledger, differences: &mut Vec<String>) {
    for table in ["tenant.tenants", "auth.tenants"] {
        let sql = format!("select tenant_id::text, status from {table}");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .fetch_all(&mut *admin)
            .await
            .unwrap();
        let found: BTreeMap<String, String> = rows
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .filter(|(id, _): &(String, String)| ledger.tenants.contains_key(id))
            .collect();
        differ(table, &ledger.tenants, &found, differences);
    }
    let uneven = "select count(*) from tenant.tenants t full join auth.tenants a using (tenant_id) where t.version is distinct from a.version";
    let uneven = count(admin, uneven).await;
    if uneven != 0 {
        differences.push(format!("auth has another version of {uneven} tenants"));
    }
}

async fn dead_letters(fleet: &Fleet, differences: &mut Vec<String>) {
    let admin = fleet.sign_in_as_admin().await;
    for queue in QUEUES {
        let path = format!("/v1/platform/dead-letters?queue={queue}");
        let letters = admin.get(&path).await.unwrap()["data"].take();
        if letters != json!([]) {
            differences.push(format!("dead letters of {queue}: {letters}"));
        }
    }
}

fn differ<K, V>(
    what: &str,
    expected: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
    differences: &mut Vec<String>,
) where
    K: Ord + std::fmt::Debug,
    V: PartialEq + std::fmt::Debug,
{
    let keys: BTreeSet<&K> = expected.keys().chain(found.keys()).collect();
    for key in keys {
        let (told, is) = (expected.get(key), found.get(key));
        if told != is {
            differences.push(format!("{what} {key:?}: told {told:?}, is {is:?}"));
        }
    }
}

async fn count(admin: &mut PgConnection, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .fetch_one(admin)
        .await
        .unwrap()
}
