//! Messages that no consumer can handle, through the queues and the public API of the whole platform.

use std::collections::BTreeMap;
use std::time::Duration;

use campaign::{Extent, Platform, Surroundings};
use kernel::{Clock, Ids};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use stack::demo::Client;
use testkit::eventually;

use super::broker::RawBroker;

const QUEUE: &str = "search.records";
const RECORDS: &str = "/v1/niches/software-catalog/packages/records";
/// Pauses of the ladder of `search.records`, and the attempt after the last of them.
const LAST_ATTEMPT: i64 = 8;

/// Statements of the index fail for these titles, each in its own way.
const TRAP: &str = "create function public.trap() returns trigger language plpgsql as $$ begin \
      if new.title = 'contended' then raise exception 'busy' using errcode = '40001'; end if; \
      if new.title = 'explosive' then raise exception 'bang'; end if; \
      return new; end $$; \
    grant usage on schema public to public; grant execute on function public.trap() to public; \
    create trigger trap before insert or update on search.documents for each row execute function public.trap()";

struct Scene {
    platform: Platform,
    raw: RawBroker,
    client: Client,
    admin: Client,
    tenant_id: String,
}

impl Scene {
    async fn open() -> Self {
        let surroundings = Surroundings::default();
        let raw = RawBroker::connect(&surroundings.amqp).await;
        let platform = Platform::start_in(surroundings).await;
        let resident = platform.settle("Olga", "Casa Azul").await;
        let niche = json!({"kit": "software-catalog"});
        resident.client.post("/v1/niches", &niche).await.unwrap();
        let scene = Self {
            admin: platform.sign_in_as_admin().await,
            platform,
            raw,
            client: resident.client,
            tenant_id: resident.tenant_id,
        };
        scene.run(TRAP).await;
        scene
    }

    async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut self.platform.db.admin().await)
            .await
            .unwrap();
    }

    async fn create(&self, name: &str) -> String {
        let record = json!({"data": {"name": name, "section": "web"}});
        let created = self.client.post(RECORDS, &record).await.unwrap();
        created["data"]["id"].as_str().unwrap().to_owned()
    }

    async fn is_indexed(&self, title: &str) -> bool {
        let sql = "select count(*) from search.documents where title = $1";
        let found: i64 = sqlx::query_scalar(sql)
            .bind(title)
            .fetch_one(&mut self.platform.db.admin().await)
            .await
            .unwrap();
        assert!(found <= 1, "{title} is in the index {found} times");
        found == 1
    }

    /// An event about a record, as the relay would publish it.
    fn event(&self, record_id: &str) -> Value {
        json!({
            "specversion": "1.0", "id": Ids::random(Clock::system()).next(), "type": "record.created", "source": "/niche",
            "subject": record_id, "time": "2026-06-01T12:00:00Z", "tenantid": self.tenant_id,
            "dataschema": "niche.v1.RecordCreated/v1", "datacontenttype": "application/json",
            "data": {"recordId": record_id, "niche": "software-catalog", "entity": "packages"},
        })
    }

    /// The reasons of all dead letters with their numbers, through the public API.
    async fn dead(&self) -> BTreeMap<String, usize> {
        let path = format!("/v1/platform/dead-letters?queue={QUEUE}&limit=100");
        let letters = self.admin.get(&path).await.unwrap();
        let mut reasons = BTreeMap::new();
        for letter in letters["data"].as_array().unwrap() {
            *reasons
                .entry(letter["reason"].as_str().unwrap().to_owned())
                .or_insert(0) += 1;
        }
        reasons
    }

    async fn wait_for_dead(&self, expected: &[(&str, usize)]) {
        let expected: BTreeMap<String, usize> = expected
            .iter()
            .map(|(reason, count)| ((*reason).to_owned(), *count))
            .collect();
        eventually(&format!("the dead letters are {expected:?}"), async || {
            (self.dead().await == expected).then_some(())
        })
        .await;
    }

    async fn replay(&self) -> i64 {
        let answer = self
            .admin
            .post("/v1/platform/dead-letters/replay", &json!({"queue": QUEUE}))
            .await
            .unwrap();
        answer["data"]["replayed"].as_i64().unwrap()
    }
}

/// `event` with a part of it replaced.
fn altered(event: &Value, key: &str, value: Value) -> Value {
    let mut event = event.clone();
    event[key] = value;
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_ends_among_the_dead_letters_with_its_reason_and_holds_up_nobody() {
    let extent = Extent::of_this_run();
    let scene = Scene::open().await;
    let id = scene.create("redis").await;
    let sound = scene.event(&id);
    let floods = extent.pick(1, 50);
    for _ in 0..floods {
        scene.raw.inject(QUEUE, b"{\"specversion\":", 1).await;
        scene.raw.inject(QUEUE, b"\xff\xfe\x00", 1).await;
        for event in [
            altered(&sound, "specversion", json!("9.0")),
            altered(&sound, "dataschema", json!("niche.v1.RecordCreated/v9")),
            altered(&sound, "type", json!("record.exploded")),
            altered(&sound, "data", json!({"recordId": ["no", "text"]})),
            altered(&sound, "data", json!({"recordId": "no id"})),
        ] {
            scene.raw.inject_event(QUEUE, &event, 1).await;
        }
    }
    // Behind all of it.
    let started = Clock::system().instant();
    scene.create("nginx").await;
    eventually("the record behind the poison is indexed", async || {
        scene.is_indexed("nginx").await.then_some(())
    })
    .await;
    let delay = started.elapsed();
    extent.tell("poison in front of a sound event", floods * 7);
    extent.tell(
        "the sound event was handled after",
        format!("{} ms", delay.as_millis()),
    );
    if extent == Extent::Long {
        assert!(delay < Duration::from_secs(1), "head of line: {delay:?}");
    }
    let floods = floods as usize;
    if extent == Extent::Short {
        let expected = [
            ("events.undecodable", 2),
            ("events.specversion_unknown", 1),
            ("events.version_unknown", 1),
            ("events.type_unexpected", 1),
            ("events.payload_invalid", 1),
            ("search.event_id_invalid", 1),
        ];
        scene.wait_for_dead(&expected).await;
    }
    eventually("no poison is lost", async || {
        (scene.raw.depth("search.records.dead").await as usize == 7 * floods).then_some(())
    })
    .await;
    // What is poison stays poison: a replay brings it back, and nothing else.
    assert_eq!(scene.replay().await as usize, 7 * floods);
    eventually("all of it is back", async || {
        (scene.raw.depth("search.records.dead").await as usize == 7 * floods).then_some(())
    })
    .await;
    scene.platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_always_fails_is_dead_after_the_ladder_and_has_one_effect_after_a_replay() {
    let scene = Scene::open().await;
    // A fault of ours is never tried again by itself; contention climbs the ladder.
    let explosive = scene.create("explosive").await;
    let contended = scene.create("contended").await;
    scene.wait_for_dead(&[("internal", 1)]).await;
    eventually(
        "the contended one waits for its second attempt",
        async || (scene.raw.depth("search.records.retry.2s").await > 0).then_some(()),
    )
    .await;
    // The last attempt, without waiting for seven hours.
    let last = scene.event(&contended);
    scene.raw.inject_event(QUEUE, &last, LAST_ATTEMPT).await;
    let expected = [("internal", 1), ("database.contention", 1)];
    scene.wait_for_dead(&expected).await;

    scene.run("drop trigger trap on search.documents").await;
    assert_eq!(scene.replay().await as usize, expected.len());
    for title in ["explosive", "contended"] {
        eventually("the replayed event has its effect", async || {
            scene.is_indexed(title).await.then_some(())
        })
        .await;
    }
    assert_eq!(scene.replay().await, 0, "nothing is left to replay");
    // Delivered once more, as a replay that crashed half way would: still one effect.
    scene
        .raw
        .inject_event(QUEUE, &scene.event(&explosive), 1)
        .await;
    eventually("the duplicate is dealt with", async || {
        (scene.raw.depth(QUEUE).await == 0).then_some(())
    })
    .await;
    assert!(scene.is_indexed("explosive").await);
    scene.platform.stop().await;
}
