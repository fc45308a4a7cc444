use std::collections::HashSet;
use std::time::Duration;

use cache::{Cache, Counted, Limit, RateLimiter};
use futures::future::join_all;
use kernel::Clock;
use testkit::Proxy;

const QUARTER: Duration = Duration::from_secs(900);
const MINUTE: Duration = Duration::from_secs(60);

fn login(subject: &str) -> Limit {
    Limit::new("login", subject, 5, QUARTER)
}

async fn allowed(limiter: &RateLimiter, limit: &Limit, tries: usize) -> usize {
    let asked = join_all((0..tries).map(|_| limiter.check(std::slice::from_ref(limit)))).await;
    asked.iter().filter(|verdict| verdict.allowed()).count()
}

#[tokio::test]
async fn two_hundred_at_once_on_a_limit_of_five_are_exactly_five() {
    let config = testkit::redis();
    // Two processes, so to speak: two connections that share nothing but Redis.
    let limiters: Vec<_> = (0..2)
        .map(|_| {
            Cache::connect(&config, Clock::system())
                .unwrap()
                .rate_limiter(1)
        })
        .collect();
    let limit = login("ip:203.0.113.7");
    let (a, b) = tokio::join!(
        allowed(&limiters[0], &limit, 100),
        allowed(&limiters[1], &limit, 100)
    );
    assert_eq!(a + b, 5);
}

#[tokio::test]
async fn the_answer_tells_what_is_left_and_when_to_come_back() {
    let limiter = testkit::cache().rate_limiter(1);
    let limit = login("ip:203.0.113.8");
    for left in (0..5).rev() {
        let verdict = limiter.check(std::slice::from_ref(&limit)).await;
        let outcome = &verdict.outcomes[0];
        assert_eq!(
            (verdict.allowed(), verdict.counted),
            (true, Counted::Together)
        );
        assert_eq!(
            (outcome.limit, outcome.remaining, outcome.retry_after),
            (5, left, None)
        );
        let full_in = u64::from(5 - left) * 180;
        assert!(
            (full_in - 2..=full_in).contains(&outcome.reset_seconds),
            "{outcome:?}"
        );
    }
    let verdict = limiter.check(&[limit]).await;
    let retry = verdict.retry_after().unwrap();
    assert!(!verdict.allowed());
    // One permit of five grows back in 180 s.
    assert!(
        retry <= Duration::from_secs(180) && retry > Duration::from_secs(178),
        "{retry:?}"
    );
    assert_eq!(verdict.tightest().unwrap().remaining, 0);
}

#[tokio::test]
async fn a_permit_comes_back_after_its_step_of_the_window() {
    let limiter = testkit::cache().rate_limiter(1);
    let limit = Limit::new("probe", "user:1", 2, Duration::from_millis(400));
    assert_eq!(allowed(&limiter, &limit, 10).await, 2);
    let retry = limiter
        .check(std::slice::from_ref(&limit))
        .await
        .retry_after()
        .unwrap();
    assert!(retry <= Duration::from_millis(200), "{retry:?}");
    testkit::eventually("a permit is back", || async {
        limiter
            .check(std::slice::from_ref(&limit))
            .await
            .allowed()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_that_one_limit_refuses_takes_nothing_from_the_others() {
    let limiter = testkit::cache().rate_limiter(1);
    let (narrow, wide) = (
        Limit::new("narrow", "user:1", 1, MINUTE),
        Limit::new("wide", "tenant:1", 100, MINUTE),
    );
    for _ in 0..20 {
        limiter.check(&[narrow.clone(), wide.clone()]).await;
    }
    let verdict = limiter.check(&[narrow, wide.clone()]).await;
    assert_eq!(
        verdict
            .outcomes
            .iter()
            .map(|o| o.allowed)
            .collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!(verdict.tightest().unwrap().class, "narrow");
    assert_eq!(limiter.check(&[wide]).await.outcomes[0].remaining, 98);
}

#[tokio::test]
async fn subjects_and_classes_do_not_touch_each_other() {
    let limiter = testkit::cache().rate_limiter(1);
    assert_eq!(allowed(&limiter, &login("ip:a"), 10).await, 5);
    assert_eq!(allowed(&limiter, &login("ip:b"), 10).await, 5);
    assert_eq!(
        allowed(&limiter, &Limit::new("media", "ip:a", 5, QUARTER), 10).await,
        5
    );
}

#[tokio::test]
async fn changing_the_figures_of_a_limit_hands_out_no_fresh_allowance() {
    let limiter = testkit::cache().rate_limiter(1);
    assert_eq!(
        allowed(&limiter, &Limit::new("default", "user:1", 10, MINUTE), 20).await,
        10
    );
    // The same window with more permits: only the difference is free, and here the bucket is simply full.
    assert_eq!(
        allowed(&limiter, &Limit::new("default", "user:1", 20, MINUTE), 40).await,
        0
    );
}

fn automation() -> Limit {
    Limit::new("automation", "tenant:1", 1000, Duration::from_secs(3600)).on_credit(50)
}

fn processes<const N: usize>(config: &cache::Config) -> [RateLimiter; N] {
    std::array::from_fn(|_| {
        Cache::connect(config, Clock::system())
            .unwrap()
            .rate_limiter(u32::try_from(N).unwrap())
    })
}

async fn left(limiter: &RateLimiter, limit: &Limit) -> u32 {
    let verdict = limiter.check(std::slice::from_ref(limit)).await;
    assert!(verdict.allowed(), "{verdict:?}");
    verdict.outcomes[0].remaining
}

#[tokio::test]
async fn permits_on_credit_are_used_without_asking_redis() {
    let proxy = Proxy::to_redis().await;
    let config = cache::Config {
        timeout: Duration::from_secs(5),
        ..testkit::redis_through(&proxy)
    };
    let [limiter] = processes(&config);
    let limit = automation();
    assert_eq!(left(&limiter, &limit).await, 999);
    proxy.cut();
    for used in 2..=51 {
        let verdict = limiter.check(std::slice::from_ref(&limit)).await;
        assert_eq!(
            (verdict.counted, verdict.outcomes[0].remaining),
            (Counted::Together, 1000 - used)
        );
    }
    assert_eq!(limiter.check(&[limit]).await.counted, Counted::Alone);
}

#[tokio::test]
async fn what_was_taken_on_credit_is_settled() {
    let [here, there] = processes(&testkit::redis());
    let limit = automation();
    for _ in 0..30 {
        left(&here, &limit).await;
    }
    assert_eq!(left(&there, &limit).await, 998, "29 are owed");
    here.settle().await.unwrap();
    // Its second request is on credit by an old picture; settled, it knows of all.
    there.settle().await.unwrap();
    assert_eq!(left(&there, &limit).await, 997);
    there.settle().await.unwrap();
    assert_eq!(left(&there, &limit).await, 1000 - 33);
}

#[tokio::test]
async fn a_debt_that_redis_did_not_hear_of_is_settled_when_it_is_back() {
    let proxy = Proxy::to_redis().await;
    let [here, there] = processes(&testkit::redis_through(&proxy));
    let limit = automation();
    for _ in 0..30 {
        left(&here, &limit).await;
    }
    proxy.cut();
    assert!(here.settle().await.is_err());
    proxy.restore();
    testkit::eventually("redis is there again", || async {
        here.settle().await.ok()
    })
    .await;
    assert_eq!(left(&there, &limit).await, 1000 - 31);
}

#[tokio::test]
async fn processes_on_credit_together_exceed_the_limit_by_what_they_owe_at_most() {
    let limiters = processes::<3>(&testkit::redis());
    let limit = automation();
    let mut total = 0;
    for round in 1..=700 {
        for limiter in &limiters {
            total += usize::from(limiter.check(std::slice::from_ref(&limit)).await.allowed());
            if round % 20 == 0 {
                limiter.settle().await.unwrap();
            }
        }
    }
    // One permit grows back every 3.6 s; each may owe what it takes between two settlements.
    assert!((1000..=1005 + 3 * 20).contains(&total), "{total}");
}

#[tokio::test]
async fn a_process_that_has_not_heard_of_a_flood_goes_no_further_than_its_credit() {
    let [here, there] = processes(&testkit::redis());
    let limit = automation();
    left(&here, &limit).await;
    let flood = limit.clone().on_credit(0);
    assert_eq!(allowed(&there, &flood, 1200).await, 999);
    assert_eq!(allowed(&here, &limit, 200).await, 50);
    here.settle().await.unwrap();
    assert_eq!(allowed(&here, &limit, 200).await, 0);
}

#[tokio::test]
async fn a_refused_request_gives_its_credit_back() {
    let [limiter] = processes(&testkit::redis());
    let (narrow, wide) = (Limit::new("narrow", "user:1", 1, MINUTE), automation());
    for _ in 0..20 {
        limiter.check(&[narrow.clone(), wide.clone()]).await;
    }
    limiter.settle().await.unwrap();
    assert_eq!(left(&limiter, &wide.on_credit(0)).await, 998);
}

#[tokio::test]
async fn every_key_has_the_prefix_a_listed_space_and_an_expiry() {
    let config = testkit::redis();
    let cache = Cache::connect(&config, Clock::system()).unwrap();
    cache
        .rate_limiter(1)
        .check(&[
            login("ip:203.0.113.9"),
            Limit::new("default", "user:7", 100, MINUTE),
        ])
        .await;
    let lock = cache::Lock::acquire(&cache, testkit::TENANT_A, "work", MINUTE)
        .await
        .unwrap()
        .unwrap();
    let mut redis = connect(&config).await;
    let found: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{}*", config.prefix))
        .query_async(&mut redis)
        .await
        .unwrap();
    let rest: HashSet<&str> = found
        .iter()
        .map(|key| key.strip_prefix(&config.prefix).unwrap())
        .collect();
    let tenant = format!("t:{}:lock:work", testkit::TENANT_A);
    assert_eq!(
        rest,
        HashSet::from([
            "rl:{ip:203.0.113.9}:login",
            "rl:{user:7}:default",
            tenant.as_str()
        ])
    );
    for key in &found {
        let left: i64 = redis::cmd("PTTL")
            .arg(key)
            .query_async(&mut redis)
            .await
            .unwrap();
        assert!(left > 0, "{key} never expires");
    }
    drop(lock);
}

async fn connect(config: &cache::Config) -> redis::aio::MultiplexedConnection {
    use secrecy::ExposeSecret;
    let client = redis::Client::open(config.url.expose_secret()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}
