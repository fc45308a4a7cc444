use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cache::{Cached, CachedOptions};
use futures::future::join_all;
use kernel::{Error, ErrorCode};
use testkit::{TENANT_A, TENANT_B};

fn options(lifetime: Duration) -> CachedOptions {
    CachedOptions {
        space: "kit",
        capacity: 100,
        lifetime,
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn however_many_miss_at_once_one_loads() {
    let cached = Cached::<u32>::in_process(options(MINUTE));
    let loads = AtomicU32::new(0);
    let load = || async {
        tokio::task::yield_now().await;
        Ok(loads.fetch_add(1, Ordering::SeqCst))
    };
    let values = join_all((0..100).map(|_| cached.get_or_load(TENANT_A, "people", load()))).await;
    assert!(values.into_iter().all(|value| value.unwrap() == 0));
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn tenants_do_not_see_each_others_values() {
    let cache = testkit::cache();
    let a = Cached::<String>::shared(cache.clone(), options(MINUTE));
    a.get_or_share(TENANT_A, "people", async { Ok("of a".into()) })
        .await
        .unwrap();
    // Another process, so that the answer can only come from Redis.
    let b = Cached::<String>::shared(cache, options(MINUTE));
    assert_eq!(
        b.get_or_share(TENANT_B, "people", async { Ok("of b".into()) })
            .await
            .unwrap(),
        "of b"
    );
    assert_eq!(
        b.get_or_share(TENANT_A, "people", async { panic!("redis has it") })
            .await
            .unwrap(),
        "of a"
    );
    b.forget_everywhere(TENANT_A, "people").await;
    assert_eq!(
        b.get_or_share(TENANT_A, "people", async { Ok("new".into()) })
            .await
            .unwrap(),
        "new"
    );
}

#[tokio::test]
async fn failures_reach_every_waiter_with_their_code_and_are_not_kept() {
    let cached = Cached::<u32>::in_process(options(MINUTE));
    let fail = || async {
        Err(
            Error::new(ErrorCode::StateConflict, "kit.broken", "the kit is broken")
                .with_detail("kit", "people"),
        )
    };
    for result in join_all((0..10).map(|_| cached.get_or_load(TENANT_A, "people", fail()))).await {
        let error = result.unwrap_err();
        assert_eq!(
            (error.error_code(), error.reason()),
            (ErrorCode::StateConflict, "kit.broken")
        );
        assert_eq!(error.details()["kit"], "people");
    }
    assert_eq!(
        cached
            .get_or_load(TENANT_A, "people", async { Ok(1) })
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn values_grow_old() {
    let cached = Cached::<u32>::in_process(options(Duration::from_millis(30)));
    cached
        .get_or_load(TENANT_A, "people", async { Ok(1) })
        .await
        .unwrap();
    testkit::eventually("the value is loaded anew", || async {
        (cached
            .get_or_load(TENANT_A, "people", async { Ok(2) })
            .await
            .unwrap()
            == 2)
            .then_some(())
    })
    .await;
}
