//! Who asks about people learns nothing: neither from what is answered nor from how long it takes; and hashing starves nobody.

use std::time::Duration;

use campaign::{Extent, FleetPlan, Platform};
use futures::future::{join, join_all};
use kernel::Clock;
use proto::auth::v1 as pb;
use serde_json::{Value, json};

use super::service::{PASSWORD, Service};
use super::town::Town;

/// Pairs for the timing: the error of the measure is then a third of what is allowed.
const PAIRS: usize = 5_000;
/// One half would be a coin; this is what SECURITY A-12 allows.
const AUC_MAX: f64 = 0.52;
/// What two hundred connections, calls and transactions may take besides the memory of the hashes.
const GROWTH_MIB_MAX: u64 = 48;
/// Fewer failures of an account than make anybody wait.
const ATTEMPTS_PER_PERSON: usize = 4;

/// An answer without what differs from request to request.
async fn answer(http: &reqwest::Client, url: &str, body: &Value) -> (u16, Vec<String>, String) {
    let answer = http.post(url).json(body).send().await.unwrap();
    let status = answer.status().as_u16();
    let mut headers: Vec<String> = answer
        .headers()
        .iter()
        .filter(|(name, _)| !["date", "x-request-id", "ratelimit"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort_unstable();
    let mut body: Value = answer.json().await.unwrap();
    for place in ["/instance", "/error/requestId", "/error/traceId"] {
        if let Some(value) = body.pointer_mut(place) {
            *value = Value::Null;
        }
    }
    (status, headers, body.to_string())
}

/// SECURITY A-12: the same status, headers and body whether or not somebody has an account.
#[tokio::test]
async fn answers_do_not_tell_who_has_an_account() {
    let platform = Platform::start().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |path: &str, body: Value| {
        answer(&http, &format!("{}{path}", platform.base_url), &body).await
    };
    let sign_up = |email: &str| json!({ "email": email, "password": PASSWORD, "name": "Olga" });
    let sign_in =
        |email: &str| json!({ "email": email, "password": "not the password of anybody" });
    // The first platform admin has an account; the one who has only begun to sign up has none yet.
    let unverified = post("/v1/auth/register", sign_up("begun@example.com")).await;
    assert_eq!(unverified.0, 202);
    for (what, known) in [
        ("known", "admin@example.com"),
        ("begun", "begun@example.com"),
        ("known, in capitals", "ADMIN@EXAMPLE.COM"),
    ] {
        let stranger = format!("stranger-{}@example.com", what.len());
        let unknown = post("/v1/auth/login", sign_in(&stranger)).await;
        assert_eq!(unknown.0, 401);
        assert_eq!(
            post("/v1/auth/login", sign_in(known)).await,
            unknown,
            "sign-in: {what}"
        );
        let mut to_tenant = sign_in(known);
        to_tenant["tenantId"] = json!(uuid::Uuid::nil());
        assert_eq!(
            post("/v1/auth/login", to_tenant).await,
            unknown,
            "sign-in to a tenant: {what}"
        );
        assert_eq!(
            post("/v1/auth/register", sign_up(known)).await,
            unverified,
            "sign-up: {what}"
        );
    }
    let never = json!({ "token": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" });
    let unknown = post("/v1/auth/verify-email", never).await;
    let link = link_of(&platform, "begun@example.com").await;
    assert_eq!(
        post("/v1/auth/verify-email", json!({ "token": link }))
            .await
            .0,
        200
    );
    let used = post("/v1/auth/verify-email", json!({ "token": link })).await;
    assert_eq!(
        used, unknown,
        "a link that was used is like one that never was"
    );
    platform.stop().await;
}

async fn link_of(platform: &Platform, email: &str) -> String {
    testkit::eventually("the mail is written", async || {
        let folder = std::fs::read_dir(&platform.mail_dir).ok()?;
        let mails = folder.filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok());
        let mail = mails
            .into_iter()
            .find(|mail| mail.contains(email) && mail.contains("token="))?;
        let (_, rest) = mail.split_once("token=")?;
        Some(rest.chars().take_while(|c| !c.is_whitespace()).collect())
    })
    .await
}

/// The chance that the slower of two failed sign-ins is the one of an account: a half says nothing, in either direction.
fn auc(known: &[f64], unknown: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = known
        .iter()
        .map(|t| (*t, true))
        .chain(unknown.iter().map(|t| (*t, false)))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ranks: f64 = all
        .iter()
        .enumerate()
        .filter(|(_, (_, is_known))| *is_known)
        .map(|(at, _)| at as f64 + 1.0)
        .sum();
    let (m, n) = (known.len() as f64, unknown.len() as f64);
    let auc = (ranks - m * (m + 1.0) / 2.0) / (m * n);
    auc.max(1.0 - auc)
}

/// The time of a failed sign-in does not tell accounts from addresses that nobody has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_do_not_tell_who_has_an_account() {
    let extent = Extent::of_this_run();
    let pairs = extent.pick(8, PAIRS);
    let service = Service::start().await;
    let people = service.accounts(pairs.div_ceil(ATTEMPTS_PER_PERSON)).await;
    let clock = Clock::system();
    let timed = async |email: String| {
        let began = clock.instant();
        let message = pb::LoginRequest {
            email,
            password: "not the password of anybody".to_owned(),
            tenant_id: None,
        };
        let error = service.login(message).await.unwrap_err();
        assert_eq!(error.error_code().as_str(), "INVALID_CREDENTIALS");
        (clock.instant() - began).as_secs_f64() * 1e3
    };
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        let person = people[pair / ATTEMPTS_PER_PERSON].clone();
        let nobody = format!("nobody-{:05}@example.com", pair / ATTEMPTS_PER_PERSON);
        // Now one first, now the other, so that what the machine does besides falls on both alike.
        if pair % 2 == 0 {
            known.push(timed(person).await);
            unknown.push(timed(nobody).await);
        } else {
            unknown.push(timed(nobody).await);
            known.push(timed(person).await);
        }
    }
    let auc = auc(&known, &unknown);
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (known, unknown) = (median(&mut known), median(&mut unknown));
    extent.tell(
        "failed sign-ins",
        format!("{pairs} pairs, median {known:.2} ms known, {unknown:.2} ms unknown, AUC {auc:.4}"),
    );
    if extent == Extent::Long {
        assert!(
            auc <= AUC_MAX,
            "the times tell accounts apart: AUC {auc:.4}"
        );
    }
    service.stop().await;
}

/// SECURITY A-13: two hundred sign-ins at once take the memory of a few, are all answered, and other routes go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_sign_ins_is_bounded() {
    let extent = Extent::of_this_run();
    let mut town = Town::open(FleetPlan::default()).await;
    let token = town.open_session().await;
    town.admitted("gateway-1", &token).await;
    let clock = Clock::system();
    let probe = async |town: &Town, count: usize| {
        let mut times = Vec::new();
        for _ in 0..count {
            let began = clock.instant();
            assert_eq!(town.ask("gateway-1", &token).await.as_u16(), 200);
            times.push(clock.instant() - began);
        }
        times.sort_unstable();
        (times[count / 2], times[count * 99 / 100])
    };
    let quiet = probe(&town, 300).await;
    let before = town.fleet.resident_bytes("auth");
    let (mut answered, mut refused) = (0, 0);
    for round in 0..extent.pick(1, 10) {
        let sign_in = |number| town.try_sign_in(format!("nobody-{round}-{number}@example.com"));
        let flood = join_all((0..200).map(sign_in));
        let (statuses, busy) = join(flood, probe(&town, 100)).await;
        let count = |status: u16| statuses.iter().filter(|told| **told == status).count();
        assert_eq!(count(401) + count(503), 200, "{statuses:?}");
        assert!(count(401) > 0, "some are let in");
        (answered, refused) = (answered + count(401), refused + count(503));
        extent.tell(
            "another route",
            format!(
                "p50 {:.1?}, p99 {:.1?}; quiet p50 {:.1?}, p99 {:.1?}",
                busy.0, busy.1, quiet.0, quiet.1
            ),
        );
        if extent == Extent::Long {
            assert!(busy.1 <= Duration::from_secs(1), "{busy:?}");
        }
    }
    // What was once taken counts, whether or not it has been given back.
    let grown = town
        .fleet
        .peak_resident_bytes("auth")
        .saturating_sub(before)
        / 1024
        / 1024;
    extent.tell(
        "200 sign-ins at once",
        format!("{answered} answered 401, {refused} answered 503, {grown} MiB more at most"),
    );
    let slots =
        std::thread::available_parallelism().map_or(1, |cores| (usize::from(cores) / 2).max(1));
    assert!(
        grown <= 19 * slots as u64 + GROWTH_MIB_MAX,
        "{grown} MiB more for {slots} hashes at a time"
    );
}
