//! Every caller at every method, over HTTP and over gRPC, against the answers that were reviewed (`data/matrix.txt`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use futures::StreamExt as _;
use kernel::TenantId;
use serde_json::json;

use super::contract::{Method, method, methods};
use super::people::{Credential, Principal};
use super::wire::HttpRequest;
use super::world::World;

/// Set to write the answers anew, for review; the test fails then, so that nobody does so unseen.
const REWRITE: &str = "TENANTRY_WRITE_MATRIX";

/// Short marks for the usual refusals; any other answer stands in the matrix as it is.
const MARKS: [(&str, &str); 9] = [
    ("sign-in", "UNAUTHORIZED"),
    ("token", "INVALID_TOKEN"),
    ("expired", "TOKEN_EXPIRED"),
    ("left", "TENANT_NOT_FOUND"),
    ("paused", "TENANT_SUSPENDED"),
    ("tenant?", "TENANT_REQUIRED"),
    ("-", "FORBIDDEN_ACTION"),
    ("absent", "NOT_FOUND"),
    ("invalid", "VALIDATION_ERROR"),
];

type Rows = BTreeMap<String, Vec<String>>;

#[tokio::test(flavor = "multi_thread")]
async fn every_caller_gets_the_answer_that_was_reviewed() {
    let world = World::start().await;
    nothing_else_is_on_the_public_port(&world).await;
    let callers = world.callers().await;
    let (http_columns, http) = over_http(&world, &callers).await;
    let (rpc_columns, rpc) = over_grpc(&world, &callers).await;
    let cells = http.len() * http_columns.len() + rpc.len() * rpc_columns.len();
    let text = format!(
        "{}{}\n{}",
        head(),
        table("http", &http_columns, &http),
        table("grpc", &rpc_columns, &rpc)
    );
    compare(&text);
    campaign::Extent::of_this_run().tell("cells of the matrix", cells);
    world.platform.stop().await;
}

/// Internal methods and what operators look at are not there at all.
async fn nothing_else_is_on_the_public_port(world: &World) {
    let mut targets: Vec<String> = methods()
        .iter()
        .map(|method| method.policy.path.to_owned())
        .collect();
    targets.extend(
        [
            "/metrics",
            "/health/startup",
            "/debug",
            "/admin",
            "/grpc.health.v1.Health/Check",
        ]
        .map(str::to_owned),
    );
    for target in targets {
        for verb in [reqwest::Method::GET, reqwest::Method::POST] {
            let request = HttpRequest {
                verb,
                ..HttpRequest::get(&target)
            };
            let answer = world.http(&Principal::nobody(), request).await;
            assert_eq!(answer.status, 404, "{target}: {}", answer.body);
        }
    }
}

/// The matrix as data: who may is a question of the policy alone, so what it declares must be what the callers met.
#[test]
fn the_reviewed_answers_follow_from_the_policies() {
    let text = std::fs::read_to_string(file()).unwrap();
    let section = text.split("\ngrpc ").next().unwrap();
    let mut lines = section
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let columns: Vec<&str> = lines.next().unwrap().split_whitespace().skip(1).collect();
    let roles = auth::roles::built_in();
    let entitled: Vec<String> = proto::policy::ALL
        .iter()
        .filter_map(|policy| policy.permission)
        .map(str::to_owned)
        .collect();
    let mut seen = BTreeSet::new();
    for line in lines {
        let mut cells = line.split_whitespace();
        let name = cells.next().unwrap();
        let method = methods()
            .into_iter()
            .find(|method| method.name() == name)
            .unwrap_or_else(|| panic!("{name} is no method"));
        seen.insert(name.to_owned());
        for (column, cell) in columns.iter().zip(cells) {
            let Some(permission) = method
                .policy
                .permission
                .filter(|_| method.policy.access == proto::policy::Access::Permission)
            else {
                continue;
            };
            if !roles.keys().any(|role| role == *column) {
                continue;
            }
            let may = roles
                .effective(&[(*column).to_owned()], &[], &entitled)
                .contains(permission);
            assert_eq!(
                cell != "-",
                may,
                "{name} for {column}: roles.yaml and the matrix disagree"
            );
        }
    }
    let public: BTreeSet<String> = methods()
        .iter()
        .filter(|method| method.is_public())
        .map(|method| method.name().to_owned())
        .collect();
    assert_eq!(seen, public);
}

async fn over_http(world: &World, callers: &[Principal]) -> (Vec<String>, Rows) {
    let mut rows = Rows::new();
    for method in methods().iter().filter(|method| method.is_public()) {
        let cells = futures::stream::iter(callers)
            .map(|caller| http_cell(world, method, caller))
            .buffered(3);
        rows.insert(method.name().to_owned(), cells.collect().await);
    }
    (
        callers.iter().map(|caller| caller.name.clone()).collect(),
        rows,
    )
}

async fn http_cell(world: &World, method: &Method, caller: &Principal) -> String {
    // A session that has ended must stay the one that comes.
    let own = if method.fixture.ends_session && caller.name != "signed-out" {
        Some(world.in_a_session_of_its_own(caller).await)
    } else {
        None
    };
    // What a public method takes for a credential is that of the suspended tenant there.
    let is_public = method.policy.access == proto::policy::Access::Public;
    let house = if is_public && caller.name == "suspended-tenant" {
        &world.s
    } else {
        &world.a
    };
    let message = world.fill(&method.fixture.request, house).await;
    let answer = world
        .http(
            own.as_ref().unwrap_or(caller),
            HttpRequest::of(method, &message),
        )
        .await;
    if answer.status < 300 {
        assert_eq!(
            answer.status,
            method.policy.success_status,
            "{}",
            method.name()
        );
        return answer.status.to_string();
    }
    mark(&answer.code())
}

/// A context token for each caller who gets one, and a service token for each of our services.
async fn over_grpc(world: &World, callers: &[Principal]) -> (Vec<String>, Rows) {
    let mut columns: Vec<String> = vec!["none".to_owned(), "garbage".to_owned()];
    let contexts: Vec<&Principal> = futures::stream::iter(callers)
        .filter_map(|caller| async move { resolve(world, caller).await.ok().map(|_| caller) })
        .collect()
        .await;
    columns.extend(contexts.iter().map(|caller| caller.name.clone()));
    let services = ["gateway", "auth", "tenant", "niche", "search"];
    columns.extend(services.map(|service| format!("svc:{service}")));
    columns.push("misdirected".to_owned());
    let mut rows = Rows::new();
    for method in &methods() {
        let mut cells = vec![
            rpc_cell(world, method, None).await,
            rpc_cell(world, method, Some("e30.e30.AAAA")).await,
        ];
        for caller in &contexts {
            let own = if method.fixture.ends_session {
                world.in_a_session_of_its_own(caller).await
            } else {
                (*caller).clone()
            };
            let token = resolve(world, &own).await.unwrap();
            cells.push(rpc_cell(world, method, Some(&token)).await);
        }
        for service in services {
            let token = service_token(world, service, method.policy.owner);
            cells.push(rpc_cell(world, method, Some(&token)).await);
        }
        let caller = method.policy.callers.first().copied().unwrap_or("gateway");
        let elsewhere = services
            .iter()
            .find(|service| **service != method.policy.owner)
            .unwrap();
        cells.push(
            rpc_cell(
                world,
                method,
                Some(&service_token(world, caller, elsewhere)),
            )
            .await,
        );
        rows.insert(method.name().to_owned(), cells);
    }
    (columns, rows)
}

async fn rpc_cell(world: &World, method: &Method, token: Option<&str>) -> String {
    let message = world.fill(&method.fixture.request, &world.a).await;
    match world.rpc(method, token, &message).await {
        Ok(_) => "ok".to_owned(),
        Err(error) => mark(error.error_code().as_str()),
    }
}

fn service_token(world: &World, caller: &str, callee: &str) -> String {
    world.peer(caller, callee).service_token(
        Some(TenantId(world.a.tenant_id)),
        None,
        "proof-of-isolation",
    )
}

/// The context token that the gateway would get for a caller.
pub async fn resolve(world: &World, caller: &Principal) -> Result<String, kernel::Error> {
    let Credential::Bearer { token, tenant, .. } = &caller.credential else {
        return Err(kernel::Error::internal("nobody has no credential"));
    };
    let mut message = json!({"credential": token});
    if let Some(tenant) = tenant {
        message["tenantHeader"] = tenant.as_str().into();
    }
    let service = world
        .peer("gateway", "auth")
        .service_token(None, None, "proof-of-isolation");
    let answer = world
        .rpc(&method("ResolveContext"), Some(&service), &message)
        .await?;
    Ok(answer["contextToken"].as_str().unwrap().to_owned())
}

fn mark(code: &str) -> String {
    let known = MARKS.iter().find(|(_, meaning)| *meaning == code);
    known.map_or(code, |(mark, _)| mark).to_owned()
}

fn head() -> String {
    let mut text = String::from(
        "# Who gets which answer, by method and caller: reviewed data. The test `isolation::matrix` compares every cell; how to write it anew\n\
         # stands in crates/campaign/README.md. Over HTTP a number is the status of a success, over gRPC `ok` is one.\n#\n",
    );
    for (mark, code) in MARKS {
        writeln!(text, "# {mark:<8} {code}").unwrap();
    }
    text.push_str("# anything else is the code of the answer itself: the caller was let in, and then the request did not suit the caller.\n\n");
    text
}

fn table(title: &str, columns: &[String], rows: &Rows) -> String {
    let mut widths: Vec<usize> = columns.iter().map(String::len).collect();
    for cells in rows.values() {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.len());
        }
    }
    let line = |name: &str, cells: &[String]| {
        let mut text = format!("{name:<42}");
        for (cell, width) in cells.iter().zip(&widths) {
            write!(text, " {cell:<width$}").unwrap();
        }
        text.trim_end().to_owned() + "\n"
    };
    let mut text = line(title, columns);
    for (name, cells) in rows {
        text.push_str(&line(name, cells));
    }
    text
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/matrix.txt")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a mode of this test, no setting of the product"
)]
fn compare(found: &str) {
    let expected = std::fs::read_to_string(file()).unwrap_or_default();
    if expected == found {
        return;
    }
    let (reviewed, now) = (cells(&expected), cells(found));
    let mut differences = String::new();
    for place in reviewed.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (reviewed.get(place), now.get(place));
        if before != after {
            let (row, column) = place;
            let shown = |cell: Option<&String>| cell.map_or("nothing", String::as_str).to_owned();
            writeln!(
                differences,
                "{row} for {column}: reviewed {}, now {}",
                shown(before),
                shown(after)
            )
            .unwrap();
        }
    }
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(file(), found).unwrap();
        panic!(
            "data/matrix.txt is written anew; review each changed line and run again without {REWRITE}\n{differences}"
        );
    }
    panic!(
        "answers differ from data/matrix.txt; set {REWRITE}=1 to write it anew for review\n{differences}"
    );
}

/// The answers by method and caller.
fn cells(text: &str) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    let mut columns: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match words.first().map(String::as_str) {
            None => {}
            Some("http" | "grpc") => {
                columns = words
                    .iter()
                    .map(|word| format!("{} {word}", words[0]))
                    .collect()
            }
            Some(row) => {
                for (column, cell) in columns.iter().zip(&words).skip(1) {
                    found.insert((row.to_owned(), column.clone()), cell.clone());
                }
            }
        }
    }
    found
}
