//! In whatever order the processes come, and whether or not what they need is there already.

use std::sync::Arc;
use std::time::Duration;

use campaign::{Extent, Fleet, FleetPlan};
use testkit::Proxy;

#[tokio::test(flavor = "multi_thread")]
async fn any_process_may_come_first() {
    let extent = Extent::of_this_run();
    let fleet = Fleet::prepare(FleetPlan {
        gateways: 1,
        ..Default::default()
    })
    .await;
    let names = fleet.names();
    let firsts: Vec<usize> = extent.pick(vec![8, 4], (0..names.len()).collect());
    for (round, first) in firsts.into_iter().enumerate() {
        let mut order = names.clone();
        order.rotate_left(first);
        if round % 2 == 1 {
            order[1..].reverse();
        }
        for name in &order {
            fleet.spawn(name);
            // sleeps because the one before must have met the absence of this one
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        for name in &order {
            fleet.wait_ready(name).await;
        }
        let admin = fleet.sign_in_as_admin().await;
        assert!(admin.status("/v1/tenants").await.unwrap().is_success());
        for name in &order {
            let status = fleet.terminate(name).await;
            assert!(
                status.success(),
                "{name} after {order:?}: {status}\n{}",
                fleet.log(name)
            );
        }
        extent.tell("started in the order", order.join(", "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_come_before_what_they_need() {
    let (amqp, redis) = (
        Arc::new(Proxy::to_amqp().await),
        Arc::new(Proxy::to_redis().await),
    );
    let postgres = Arc::new(Proxy::to_postgres().await);
    let absent = [&amqp, &redis, &postgres];
    let fleet = Fleet::prepare(FleetPlan {
        gateways: 1,
        amqp: Some(Arc::clone(&amqp)),
        redis: Some(Arc::clone(&redis)),
        postgres: Some(Arc::clone(&postgres)),
        ..Default::default()
    })
    .await;
    for proxy in absent {
        proxy.cut();
    }
    for name in fleet.names() {
        fleet.spawn(&name);
    }
    // sleeps because nothing tells that all of them have tried in vain
    tokio::time::sleep(Duration::from_secs(2)).await;
    for name in fleet.names() {
        assert!(
            fleet.is_running(&name),
            "{name} gave up\n{}",
            fleet.log(&name)
        );
    }
    for proxy in absent {
        proxy.restore();
    }
    for name in fleet.names() {
        fleet.wait_ready(&name).await;
    }
    let admin = fleet.sign_in_as_admin().await;
    testkit::eventually("the sign-in is in the audit log", async || {
        let log = admin.get("/v1/audit-logs").await.ok()?;
        let entries = log["data"].as_array()?;
        (!entries.is_empty()).then_some(())
    })
    .await;
}
