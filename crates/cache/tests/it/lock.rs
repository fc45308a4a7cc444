use std::time::Duration;

use cache::Lock;
use futures::future::join_all;
use testkit::{TENANT_A, TENANT_B};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn of_many_who_want_a_lock_one_gets_it() {
    let cache = testkit::cache();
    let tries = join_all((0..50).map(|_| Lock::acquire(&cache, TENANT_A, "work", MINUTE))).await;
    let mut held: Vec<Lock> = tries.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(held.len(), 1);
    assert!(
        Lock::acquire(&cache, TENANT_B, "work", MINUTE)
            .await
            .unwrap()
            .is_some(),
        "another tenant's lock is another lock"
    );
    assert!(held.pop().unwrap().release().await.unwrap());
    assert!(
        Lock::acquire(&cache, TENANT_A, "work", MINUTE)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn an_expired_lock_is_not_taken_from_its_next_holder() {
    let cache = testkit::cache();
    let slow = Lock::acquire(&cache, TENANT_A, "work", Duration::from_millis(1))
        .await
        .unwrap()
        .unwrap();
    let next = testkit::eventually("the lock expires", || async {
        Lock::acquire(&cache, TENANT_A, "work", MINUTE)
            .await
            .unwrap()
    })
    .await;
    assert!(!slow.extend(MINUTE).await.unwrap());
    assert!(!slow.release().await.unwrap());
    assert!(next.extend(MINUTE).await.unwrap());
    assert!(
        Lock::acquire(&cache, TENANT_A, "work", MINUTE)
            .await
            .unwrap()
            .is_none()
    );
}
