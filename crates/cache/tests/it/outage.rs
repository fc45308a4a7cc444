use std::time::Duration;

use cache::{Cache, Cached, CachedOptions, Config, Counted, Limit, Lock};
use kernel::{Clock, Code};
use testkit::{Proxy, TENANT_A, eventually};

const MINUTE: Duration = Duration::from_secs(60);

fn nowhere() -> Config {
    // Port 1 of the loopback address refuses connections.
    Config {
        url: "redis://127.0.0.1:1/0".to_owned().into(),
        prefix: "x:".into(),
        timeout: Duration::from_millis(200),
    }
}

#[tokio::test]
async fn without_redis_each_process_counts_its_share() {
    let limiter = Cache::connect(&nowhere(), Clock::system())
        .unwrap()
        .rate_limiter(2);
    let limit = Limit::new("login", "ip:203.0.113.7", 10, Duration::from_secs(900));
    let mut allowed = 0;
    for _ in 0..50 {
        let verdict = limiter.check(std::slice::from_ref(&limit)).await;
        assert_eq!(verdict.counted, Counted::Alone);
        allowed += usize::from(verdict.allowed());
        assert_eq!(verdict.retry_after().is_some(), !verdict.allowed());
    }
    assert_eq!(allowed, 5);
}

#[tokio::test]
async fn a_redis_that_swallows_everything_costs_a_few_waits_and_then_nothing() {
    let proxy = Proxy::to_redis().await;
    let clock = Clock::system();
    let limiter = Cache::connect(&testkit::redis_through(&proxy), clock.clone())
        .unwrap()
        .rate_limiter(1);
    let limit = Limit::new("default", "user:1", 100_000, MINUTE);
    eventually("redis answers", || async {
        (limiter.check(std::slice::from_ref(&limit)).await.counted == Counted::Together)
            .then_some(())
    })
    .await;

    proxy.stall();
    let started = clock.instant();
    for _ in 0..300 {
        assert!(limiter.check(std::slice::from_ref(&limit)).await.allowed());
    }
    let waited = clock.instant() - started;
    // Three timeouts open the breaker; then one probe a second. Without it, 300 requests would wait a minute.
    assert!(waited < Duration::from_secs(3), "{waited:?}");

    proxy.restore();
    eventually("redis is asked again", || async {
        (limiter.check(std::slice::from_ref(&limit)).await.counted == Counted::Together)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_comes_back_is_used_again() {
    let proxy = Proxy::to_redis().await;
    proxy.cut();
    let cache = Cache::connect(&testkit::redis_through(&proxy), Clock::system()).unwrap();
    assert_eq!(cache.ping().await.unwrap_err().code(), Code::Unavailable);
    proxy.restore();
    eventually("redis answers", || async { cache.ping().await.ok() }).await;
    proxy.cut();
    eventually("the loss is noticed", || async { cache.ping().await.err() }).await;
    proxy.restore();
    eventually("redis answers again", || async { cache.ping().await.ok() }).await;
}

#[tokio::test]
async fn without_redis_locks_say_so_and_cached_values_are_loaded() {
    let cache = Cache::connect(&nowhere(), Clock::system()).unwrap();
    let error = Lock::acquire(&cache, TENANT_A, "work", MINUTE)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let cached = Cached::<u32>::shared(
        cache,
        CachedOptions {
            space: "n",
            capacity: 10,
            lifetime: MINUTE,
        },
    );
    assert_eq!(
        cached
            .get_or_share(TENANT_A, "k", async { Ok(7) })
            .await
            .unwrap(),
        7
    );
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_at_start_without_repeating_it() {
    let config = Config {
        url: "http://user:hunter2@nowhere".to_owned().into(),
        ..nowhere()
    };
    let error = Cache::connect(&config, Clock::system()).unwrap_err();
    assert!(
        error.chain().contains("REDIS_URL") && !error.chain().contains("hunter2"),
        "{}",
        error.chain()
    );
    assert!(!format!("{config:?}").contains("hunter2"));
}
