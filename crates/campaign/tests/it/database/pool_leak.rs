//! One connection, two tenants in turn, and everything that can go wrong while it is lent: nothing of one borrower meets the next.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use db::{Db, Once, Tx};
use kernel::{Clock, Ids, RequestContext, TenantId};
use sqlx::{AssertSqlSafe, Executor as _};
use testkit::{TENANT_A, TENANT_B, TestDb};

use campaign::Extent;

use super::dice::Dice;
use super::whole_database;

/// What happens to a borrowed connection, with equal odds.
const MISHAPS: [&str; 14] = [
    "commit",
    "rollback",
    "dropped unfinished",
    "transaction cancelled",
    "read cancelled",
    "key cancelled",
    "panic",
    "statement timeout",
    "broken statement, then commit",
    "read",
    "broken read",
    "deadline",
    "session setting",
    "connection killed",
];

struct Ground {
    db: Db,
    database: TestDb,
    clock: Clock,
    committed: BTreeMap<TenantId, u64>,
    keys: u64,
}

impl Ground {
    async fn lay() -> Self {
        let database = whole_database().await;
        let clock = Clock::system();
        let config = db::Config {
            pool_max: 1,
            // A cancelled statement is waited for by whoever comes next.
            acquire_timeout: Duration::from_secs(20),
            slow_after: Duration::from_secs(60),
            ..database.config_of("niche")
        };
        let db = Db::connect(&config, Ids::random(clock.clone()), clock.clone())
            .await
            .unwrap();
        Self {
            db,
            database,
            clock,
            committed: BTreeMap::from([(TENANT_A, 0), (TENANT_B, 0)]),
            keys: 0,
        }
    }

    fn context(&mut self, tenant_id: TenantId) -> RequestContext {
        self.keys += 1;
        let key = format!("key {}", self.keys);
        testkit::context()
            .user(testkit::ANN)
            .tenant(tenant_id)
            .with(move |b| b.idempotency_key(Some(key)))
            .build()
    }

    async fn mishap(&mut self, what: &str, tenant_id: TenantId, dice: &mut Dice) {
        let ctx = self.context(tenant_id);
        let db = self.db.clone();
        let polls = dice.below(24);
        match what {
            "commit" => {
                let mut tx = db.tenant(&ctx).await.unwrap();
                write(&mut tx, self.keys).await;
                tx.commit().await.unwrap();
                *self.committed.get_mut(&tenant_id).unwrap() += 1;
            }
            "rollback" => {
                let mut tx = db.tenant(&ctx).await.unwrap();
                write(&mut tx, self.keys).await;
                tx.rollback().await.unwrap();
            }
            "dropped unfinished" => {
                let mut tx = db.tenant(&ctx).await.unwrap();
                write(&mut tx, self.keys).await;
            }
            "transaction cancelled" => drop_after(polls, unfinished(&db, &ctx, self.keys)).await,
            "read cancelled" => drop_after(polls, own_rows(&db, &ctx)).await,
            "key cancelled" => drop_after(polls, db.once::<()>(&ctx, &())).await,
            "panic" => panic_inside(db, ctx, self.keys).await,
            "statement timeout" => {
                let mut tx = db.tenant(&ctx).await.unwrap();
                let sleep = "set local statement_timeout = 1; select pg_sleep(1)";
                let error = tx.conn().execute(sqlx::raw_sql(sleep)).await.unwrap_err();
                assert_eq!(super::attempts::code(&error), "57014");
            }
            "broken statement, then commit" => {
                let mut tx = db.tenant(&ctx).await.unwrap();
                write(&mut tx, self.keys).await;
                tx.conn().execute("select 1 / 0").await.unwrap_err();
                // PostgreSQL answers the COMMIT of a failed transaction by rolling it back.
                let _ = tx.commit().await;
            }
            "read" => own_rows(&db, &ctx).await,
            "broken read" => {
                let read = db.read(
                    &ctx,
                    "select 1 / count(object_key) - 1 / 0 from niche.import_objects",
                );
                read.optional::<(i64,)>().await.unwrap_err();
            }
            "deadline" => self.deadline(tenant_id, dice).await,
            "session setting" => {
                let mut tx = db.tenant(&ctx).await.unwrap();
                let set = format!("set app.tenant_id = '{tenant_id}'; set row_security = off");
                tx.conn()
                    .execute(sqlx::raw_sql(AssertSqlSafe(set)))
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
            }
            _ => self.kill(&ctx).await,
        }
    }

    /// A request that has hardly any time left.
    async fn deadline(&mut self, tenant_id: TenantId, dice: &mut Dice) {
        let at = self.clock.instant() + Duration::from_micros(dice.below(3_000));
        let ctx = testkit::context()
            .user(testkit::ANN)
            .tenant(tenant_id)
            .with(move |b| b.deadline(at))
            .build();
        if let Ok(mut tx) = self.db.tenant(&ctx).await {
            // Cut off or not: both are fine here.
            let _ = tx.conn().execute("select pg_sleep(0.002)").await;
        }
    }

    async fn kill(&mut self, ctx: &RequestContext) {
        let mut tx = self.db.tenant(ctx).await.unwrap();
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(tx.conn())
            .await
            .unwrap();
        let mut admin = self.database.admin().await;
        sqlx::query("select pg_terminate_backend($1, 2000)")
            .bind(pid)
            .execute(&mut admin)
            .await
            .unwrap();
        tx.conn().execute("select 1").await.unwrap_err();
    }

    /// Borrows the connection as the other tenant and looks at it as it was handed out.
    async fn inspect(&mut self, tenant_id: TenantId, after: &str) {
        let asked = self.clock.now();
        let ctx = self.context(tenant_id);
        let begun = self.db.tenant(&ctx).await;
        let mut tx = begun.unwrap_or_else(|error| panic!("after {after}: {}", error.chain()));
        // A transaction that was open already would have begun before we asked, or have written.
        let fresh: (bool, bool, String) = sqlx::query_as(
            "select now() >= $1, pg_current_xact_id_if_assigned() is null, current_setting('app.tenant_id')",
        )
        .bind(asked)
        .fetch_one(tx.conn())
        .await
        .unwrap();
        assert_eq!(fresh, (true, true, tenant_id.to_string()), "after {after}");
        // Without our own transaction the session shows what it had when it was handed out.
        tx.conn().execute("rollback").await.unwrap();
        let state: (String, bool, String, String, String, String) = sqlx::query_as(
            "select coalesce(current_setting('app.tenant_id', true), ''), current_user = session_user and current_user = 'niche_app', \
                    current_setting('row_security'), current_setting('search_path'), current_setting('statement_timeout'), \
                    current_setting('role')",
        )
        .fetch_one(tx.conn())
        .await
        .unwrap();
        let words = ["", "on", "\"\"", "5s", "none"].map(str::to_owned);
        let [tenant, security, path, timeout, role] = words;
        assert_eq!(
            state,
            (tenant, true, security, path, timeout, role),
            "after {after}"
        );
        tx.conn().execute("begin").await.unwrap();
        tx.rollback().await.unwrap();
        own_rows(&self.db, &ctx).await;
    }
}

async fn write(tx: &mut Tx, n: u64) {
    sqlx::query("insert into niche.import_objects (tenant_id, object_key) values ($1, $2)")
        .bind(tx.tenant_id().uuid())
        .bind(format!("of {} {n}", tx.tenant_id()))
        .execute(tx.conn())
        .await
        .unwrap();
}

/// Reads by the fast path and looks whose rows come.
async fn own_rows(db: &Db, ctx: &RequestContext) {
    let tenant_id = ctx.tenant_id().unwrap();
    let newest = db.read(ctx, "select object_key, current_setting('app.tenant_id') from niche.import_objects order by object_key desc limit 3");
    let rows: Vec<(String, String)> = newest.all().await.unwrap();
    for (key, setting) in rows {
        assert!(
            key.starts_with(&format!("of {tenant_id} ")),
            "{key} came to {tenant_id}"
        );
        assert_eq!(setting, tenant_id.to_string());
    }
}

async fn unfinished(db: &Db, ctx: &RequestContext, n: u64) {
    let mut tx = db.tenant(ctx).await.unwrap();
    write(&mut tx, n).await;
    own_of(&mut tx).await;
    tx.rollback().await.unwrap();
}

async fn own_of(tx: &mut Tx) {
    let foreign: i64 =
        sqlx::query_scalar("select count(*) from niche.import_objects where tenant_id <> $1")
            .bind(tx.tenant_id().uuid())
            .fetch_one(tx.conn())
            .await
            .unwrap();
    assert_eq!(foreign, 0);
}

#[expect(
    clippy::disallowed_methods,
    reason = "the panic must end a task and not the test"
)]
async fn panic_inside(db: Db, ctx: RequestContext, n: u64) {
    let task = tokio::spawn(async move {
        let Once::Fresh(mut tx) = db.once::<()>(&ctx, &()).await.unwrap() else {
            unreachable!("every key is new")
        };
        write(&mut tx, n).await;
        // Like `panic!`, without the message of the hook in the output of the test.
        std::panic::resume_unwind(Box::new("in the middle of a transaction"));
    });
    assert!(task.await.unwrap_err().is_panic());
}

/// Polls `future` some times, letting everything else run in between, then drops it.
async fn drop_after<F: Future>(polls: u64, future: F) {
    let mut future = pin!(future);
    for _ in 0..polls {
        let done =
            std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if done {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_of_one_borrower_meets_the_next() {
    let extent = Extent::of_this_run();
    let rounds = extent.pick(300, 10_000);
    let mut dice = Dice::of_this_run("pool-leak");
    let mut ground = Ground::lay().await;
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for round in 0..rounds {
        let (now, next) = if round % 2 == 0 {
            (TENANT_A, TENANT_B)
        } else {
            (TENANT_B, TENANT_A)
        };
        let what = MISHAPS[usize::try_from(dice.below(MISHAPS.len() as u64)).unwrap()];
        ground.mishap(what, now, &mut dice).await;
        ground.inspect(next, what).await;
        *seen.entry(what).or_default() += 1;
    }
    for (what, times) in &seen {
        extent.tell(&format!("pool-leak: {what}"), times);
    }
    assert_eq!(seen.len(), MISHAPS.len());
    let mut admin = ground.database.admin().await;
    let open: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity where datname = current_database() and usename = 'niche_app' and (xact_start is not null or state <> 'idle')",
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!(open, 0);
    for (tenant_id, committed) in &ground.committed {
        let rows: i64 =
            sqlx::query_scalar("select count(*) from niche.import_objects where tenant_id = $1")
                .bind(tenant_id.uuid())
                .fetch_one(&mut admin)
                .await
                .unwrap();
        assert_eq!(
            u64::try_from(rows).unwrap(),
            *committed,
            "only what was committed"
        );
    }
}

/// The fast path, which examines a connection only now and then, and here every hundredth borrower goes away in the middle.
#[tokio::test]
async fn a_million_reads_in_turn_answer_own_rows_alone() {
    let extent = Extent::of_this_run();
    let checkouts = extent.pick(2_000, 1_000_000);
    let mut dice = Dice::of_this_run("pool-leak reads");
    let mut ground = Ground::lay().await;
    let contexts = [TENANT_A, TENANT_B].map(|tenant_id| ground.context(tenant_id));
    for ctx in &contexts {
        let mut tx = ground.db.tenant(ctx).await.unwrap();
        write(&mut tx, 0).await;
        tx.commit().await.unwrap();
    }
    let (mut cancelled, began) = (0, ground.clock.instant());
    for n in 0..checkouts {
        let ctx = &contexts[n % 2];
        if dice.below(100) == 0 {
            drop_after(dice.below(8), own_rows(&ground.db, ctx)).await;
            cancelled += 1;
        } else {
            own_rows(&ground.db, ctx).await;
        }
    }
    let took = ground.clock.instant() - began;
    extent.tell("pool-leak: reads", checkouts);
    extent.tell("pool-leak: of them cancelled", cancelled);
    extent.tell("pool-leak: seconds of the reads", took.as_secs());
    ground.inspect(TENANT_A, "many reads").await;
}
