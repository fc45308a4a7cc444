//! What the gateway remembers of callers: for how long, who renews it, and what ends it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use proto::auth::v1::AccessChange;
use testkit::{ANN, BOB, TENANT_A, TENANT_B, context, eventually};

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_resolved_once_for_many_requests() {
    let stage = Stage::start().await;
    *stage.fake.resolve_delay.lock().unwrap() = Duration::from_millis(200);
    let got = join_all((0..20).map(|_| stage.send(stage.as_ann("GET", "/v1/me")))).await;
    assert!(got.iter().all(|got| got.status == 200));
    assert_eq!(stage.fake.resolved.load(Ordering::SeqCst), 1);
    // A refusal is remembered too, for a moment.
    for _ in 0..5 {
        assert_eq!(
            stage
                .send(stage.request("GET", "/v1/me").bearer_auth("stranger"))
                .await
                .status,
            401
        );
    }
    assert_eq!(stage.fake.resolved.load(Ordering::SeqCst), 2);
}

/// The gateway uses a context for six seconds less than it lives, and has it renewed in at least five seconds before that.
const SOON: Duration = Duration::from_millis(10_900);

/// A stage where ann is known and what is known of her ends soon.
async fn soon_forgotten() -> Stage {
    let stage = Stage::start_with(|config| config.rate_limit_factor = 1000.0).await;
    *stage.fake.context_lives.lock().unwrap() = SOON;
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
    *stage.fake.context_lives.lock().unwrap() = Duration::from_secs(55);
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_while_a_caller_is_renewed_and_auth_is_asked_once() {
    let stage = soon_forgotten().await;
    // Whoever waited for that would get a 503.
    *stage.fake.resolve_delay.lock().unwrap() = Duration::from_secs(60);
    let got = join_all((0..20).map(|_| stage.send(stage.as_ann("GET", "/v1/me")))).await;
    assert!(got.iter().all(|got| got.status == 200));
    asked(&stage, 2).await;
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
    assert_eq!(stage.fake.resolved.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_renewal_is_refused_is_out() {
    let stage = soon_forgotten().await;
    stage.fake.callers.lock().unwrap().remove("ann");
    eventually("ann is out", || {
        let request = stage.as_ann("GET", "/v1/me");
        let stage = &stage;
        async move { (stage.send(request).await.status == 401).then_some(()) }
    })
    .await;
    // Once for the first request and once for the renewal: what was known had not ended.
    assert_eq!(stage.fake.resolved.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_takes_the_place_of_what_was_known() {
    let stage = soon_forgotten().await;
    *stage.fake.context_lives.lock().unwrap() = SOON;
    // Each one ends soon in turn and is renewed in turn; what is known for five seconds is renewed once.
    eventually("the renewed are renewed", || {
        let request = stage.as_ann("GET", "/v1/me");
        let stage = &stage;
        async move {
            assert_eq!(stage.send(request).await.status, 200);
            (stage.fake.resolved.load(Ordering::SeqCst) >= 10).then_some(())
        }
    })
    .await;
}

/// Tells of a change of access of everybody in ann's tenant, and waits until the gateway has heard it.
async fn change_heard(stage: &Stage) {
    let before = stage.fake.resolved.load(Ordering::SeqCst);
    stage.fake.change(AccessChange {
        tenant_id: Some(TENANT_A.to_string()),
        actor_id: None,
        session_id: None,
    });
    eventually("cid is asked for anew", || {
        let request = stage.request("GET", "/v1/me").bearer_auth("cid");
        async move {
            assert_eq!(stage.send(request).await.status, 200);
            (stage.fake.resolved.load(Ordering::SeqCst) > before).then_some(())
        }
    })
    .await;
}

/// Adds cid, who is in ann's tenant, and has the gateway know him.
async fn with_cid(stage: &Stage) {
    let cid = context().user(BOB).tenant(TENANT_A).build();
    stage.fake.callers.lock().unwrap().insert("cid".into(), cid);
    let request = stage.request("GET", "/v1/me").bearer_auth("cid");
    assert_eq!(stage.send(request).await.status, 200);
}

/// Waits until auth was asked so often.
async fn asked(stage: &Stage, times: u64) {
    eventually("auth is asked", || {
        let asked = stage.fake.resolved.load(Ordering::SeqCst);
        async move { (asked == times).then_some(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_on_its_way_during_a_change_is_not_remembered() {
    let stage = Stage::start().await;
    with_cid(&stage).await;
    let held = stage.fake.answers_held.lock().await;
    let changed = async {
        asked(&stage, 2).await;
        change_heard(&stage).await;
        drop(held);
    };
    let (got, ()) = tokio::join!(stage.send(stage.as_ann("GET", "/v1/me")), changed);
    assert_eq!(got.status, 200, "auth was asked before the change");
    stage.fake.callers.lock().unwrap().remove("ann");
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_on_its_way_during_a_change_is_not_remembered() {
    let stage = soon_forgotten().await;
    with_cid(&stage).await;
    let held = stage.fake.answers_held.lock().await;
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
    asked(&stage, 3).await;
    change_heard(&stage).await;
    stage.fake.callers.lock().unwrap().remove("ann");
    drop(held);
    // The answer arrives while these are made, and had been given before the change.
    for _ in 0..200 {
        assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_access_takes_effect_at_once_and_only_for_whom_it_concerns() {
    let stage = Stage::start_with(|config| config.rate_limit_factor = 1000.0).await;
    let bob = context().user(BOB).tenant(TENANT_B).build();
    stage.fake.callers.lock().unwrap().insert("bob".into(), bob);
    let as_bob = || stage.request("GET", "/v1/me").bearer_auth("bob");
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
    assert_eq!(stage.send(as_bob()).await.status, 200);
    stage.fake.callers.lock().unwrap().remove("ann");
    let got = stage.send(stage.as_ann("GET", "/v1/me")).await;
    assert_eq!(
        got.status,
        200,
        "nothing has been told yet: {} {}",
        got.text,
        stage.fake.resolved.load(Ordering::SeqCst)
    );
    stage.fake.change(AccessChange {
        tenant_id: Some(TENANT_A.to_string()),
        actor_id: Some(ANN.to_string()),
        session_id: None,
    });
    tokio::time::timeout(
        Duration::from_secs(1),
        eventually("ann is out", || {
            let request = stage.as_ann("GET", "/v1/me");
            let stage = &stage;
            async move { (stage.send(request).await.status == 401).then_some(()) }
        }),
    )
    .await
    .expect("a revocation takes effect within a second");
    let before = stage.fake.resolved.load(Ordering::SeqCst);
    assert_eq!(stage.send(as_bob()).await.status, 200);
    assert_eq!(
        stage.fake.resolved.load(Ordering::SeqCst),
        before,
        "bob is still remembered"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_of_auth_ends_the_trust_in_what_is_remembered() {
    let stage = Stage::start_with(|config| {
        config.access_silence_max = Duration::from_millis(400);
        config.rate_limit_factor = 1000.0;
    })
    .await;
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
    stage.fake.silent.store(true, Ordering::SeqCst);
    eventually("the gateway is not ready", || {
        let health = stage.process.health.clone();
        async move { (!health.readiness().await.is_ready()).then_some(()) }
    })
    .await;
    // Every request asks now, so a revocation that could not be told still counts.
    let before = stage.fake.resolved.load(Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
    }
    assert_eq!(stage.fake.resolved.load(Ordering::SeqCst), before + 3);
    stage.fake.callers.lock().unwrap().clear();
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_auth_nobody_with_a_credential_gets_in() {
    let stage =
        Stage::start_with(|config| config.access_silence_max = Duration::from_millis(300)).await;
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
    assert!(stage.services.stop(Duration::from_secs(5)).await);
    let got = eventually("the cache is not believed", || {
        let request = stage.as_ann("GET", "/v1/me");
        let stage = &stage;
        async move {
            let got = stage.send(request).await;
            let is_ready = stage.process.health.readiness().await.is_ready();
            (got.status == 503 && !is_ready).then_some(got)
        }
    })
    .await;
    assert_eq!(got.problem(), "SERVICE_UNAVAILABLE");
    assert_eq!(
        stage
            .send(stage.request("GET", "/health/live"))
            .await
            .status,
        200
    );
    let got = stage.send(stage.request("GET", "/health/ready")).await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (503, "SERVICE_UNAVAILABLE")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_clock_of_auth_is_wrong_nothing_is_remembered() {
    let stage = Stage::start().await;
    *stage.fake.context_lives.lock().unwrap() = Duration::from_secs(360);
    for _ in 0..3 {
        let got = stage.send(stage.as_ann("GET", "/v1/me")).await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (503, "SERVICE_UNAVAILABLE")
        );
    }
    *stage.fake.context_lives.lock().unwrap() = Duration::from_secs(55);
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
}

/// A crowd must not fill auth with what nobody waits for.
#[tokio::test(flavor = "multi_thread")]
async fn two_callers_are_renewed_at_a_time() {
    const CROWD: [&str; 6] = ["c1", "c2", "c3", "c4", "c5", "c6"];
    let stage = soon_forgotten().await;
    let each_asks = || async {
        let requests =
            CROWD.map(|name| stage.send(stage.request("GET", "/v1/me").bearer_auth(name)));
        assert!(join_all(requests).await.iter().all(|got| got.status == 200));
    };
    for name in CROWD {
        let caller = context().user(BOB).tenant(TENANT_A).build();
        stage
            .fake
            .callers
            .lock()
            .unwrap()
            .insert(name.into(), caller);
    }
    *stage.fake.context_lives.lock().unwrap() = SOON;
    each_asks().await;
    let known = stage.fake.resolved.load(Ordering::SeqCst);
    *stage.fake.resolve_delay.lock().unwrap() = Duration::from_secs(60);
    each_asks().await;
    asked(&stage, known + 2).await;
    each_asks().await;
    each_asks().await;
    assert_eq!(stage.fake.resolved.load(Ordering::SeqCst), known + 2);
}
