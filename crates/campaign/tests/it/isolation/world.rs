//! Two tenants with the same kinds of objects, a suspended one, and people in them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use auth::access_tokens::AccessTokens;
use auth::keys::SigningKeys;
use campaign::{Platform, Surroundings};
use chrono::TimeDelta;
use kernel::Clock;
use serde_json::{Value, json};
use sqlx::{PgConnection, Row as _};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::people::Principal;
use super::wire::HttpRequest;

/// In every text of tenant B and of the suspended tenant, unless a test wants another mark.
const MARK: &str = "bruma";
/// The patience of a busy machine: nothing here is about time.
const PATIENCE: [(&str, &str); 5] = [
    ("AUTH_DB_ACQUIRE_TIMEOUT_MS", "20000"),
    ("TENANT_DB_ACQUIRE_TIMEOUT_MS", "20000"),
    ("NICHE_DB_ACQUIRE_TIMEOUT_MS", "20000"),
    ("SEARCH_DB_ACQUIRE_TIMEOUT_MS", "20000"),
    ("GATEWAY_REQUEST_TIMEOUT_MS", "30000"),
];
/// Word that texts of both tenants have, so that a search for it could find both.
pub const SHARED_WORD: &str = "zanzibar";

/// A tenant and its standing objects.
#[derive(Clone, Debug)]
pub struct House {
    pub tenant_id: Uuid,
    pub owner: Uuid,
    pub email: String,
    /// The oldest of its records.
    pub record: String,
    /// A finished import with refused rows.
    pub import: String,
    /// A niche that no other tenant has.
    pub niche: String,
}

/// A running platform with tenants in it.
pub struct World {
    pub platform: Platform,
    pub redis: cache::Config,
    pub http: reqwest::Client,
    pub a: House,
    pub b: House,
    /// Suspended.
    pub s: House,
    /// The first member of the platform's staff.
    pub staff: Uuid,
    pub tokens: AccessTokens,
    pub admin: Mutex<PgConnection>,
    count: AtomicU64,
}

impl World {
    /// Starts a platform and fills it.
    pub async fn start() -> Self {
        Self::start_with(MARK).await
    }

    /// Starts one in which `mark` is in every text of B and of the suspended tenant, and nowhere else.
    pub async fn start_with(mark: &str) -> Self {
        let redis = testkit::redis();
        let platform = Platform::start_in(Surroundings {
            redis: redis.clone(),
            settings: PATIENCE
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            ..Surroundings::default()
        })
        .await;
        let mut reader = platform.settings.reader();
        let config = auth::Config::read(&mut reader);
        let tokens = AccessTokens {
            keys: SigningKeys::load(&config.signing_key_files).unwrap(),
            issuer: config.issuer,
            audience: config.audience,
            lifetime: TimeDelta::minutes(15),
        };
        let mut admin = platform.db.admin().await;
        let staff = sqlx::query("select id from auth.users where platform_role is not null")
            .fetch_one(&mut admin)
            .await
            .unwrap()
            .get(0);
        let empty = House {
            tenant_id: Uuid::nil(),
            owner: Uuid::nil(),
            email: String::new(),
            record: String::new(),
            import: String::new(),
            niche: String::new(),
        };
        let mut world = Self {
            platform,
            redis,
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            a: empty.clone(),
            b: empty.clone(),
            s: empty,
            staff,
            tokens,
            admin: Mutex::new(admin),
            count: AtomicU64::new(0),
        };
        world.a = world.settle("alpha", "Alpha").await;
        world.b = world
            .settle(&format!("{mark}-b"), &format!("{mark} Beta"))
            .await;
        world.s = world
            .found(&format!("{mark}-s"), &format!("{mark} Sigma"))
            .await;
        world.suspend_s(mark).await;
        world.rest().await;
        world
    }

    /// Creates a tenant with an owner.
    async fn found(&self, slug: &str, name: &str) -> House {
        let staff = self.principal("staff", self.staff, None).await;
        let email = format!("{slug}.owner@example.com");
        let body = json!({"slug": slug, "name": format!("{name} {SHARED_WORD}"), "adminUser": {"email": email, "name": format!("{name} Owner")}});
        let created = self.post(&staff, "/v1/tenants", body).await;
        let tenant_id: Uuid = created["data"]["id"].as_str().unwrap().parse().unwrap();
        let owner: Uuid = self
            .one("select id from auth.users where email = $1", &email)
            .await;
        self.admit(owner).await;
        House {
            tenant_id,
            owner,
            email,
            record: String::new(),
            import: String::new(),
            niche: String::new(),
        }
    }

    /// A tenant with niches, records, imports and an index.
    async fn settle(&self, slug: &str, name: &str) -> House {
        let mut house = self.found(slug, name).await;
        let owner = self
            .principal("owner", house.owner, Some(house.tenant_id))
            .await;
        self.post(&owner, "/v1/niches", json!({"kit": "software-catalog"}))
            .await;
        house.niche = format!("{slug}-own");
        self.sql_text(
            "insert into niche.niches (tenant_id, key, kit, kit_version, status, activated_at)
             select tenant_id, $2, kit, kit_version, 'active', now() from niche.niches where tenant_id = $1::uuid and key = 'software-catalog'",
            &[&house.tenant_id.to_string(), &house.niche],
        )
        .await;
        for number in 0..3 {
            let record = self
                .post(
                    &owner,
                    "/v1/niches/software-catalog/packages/records",
                    record_of(slug, number),
                )
                .await;
            if number == 0 {
                house.record = record["data"]["id"].as_str().unwrap().to_owned();
            }
        }
        house.import = self.import(&owner, &csv_of(slug)).await;
        self.import(
            &owner,
            &format!("Package,Summary\n{slug}-second,{slug} {SHARED_WORD}\n"),
        )
        .await;
        self.wait_for_index(&owner).await;
        house
    }

    async fn import(&self, who: &Principal, file: &str) -> String {
        let request = HttpRequest {
            verb: reqwest::Method::POST,
            target: "/v1/niches/software-catalog/packages/imports".to_owned(),
            body: Some(("text/csv".to_owned(), file.as_bytes().to_vec())),
            headers: Vec::new(),
        };
        let answer = self.http(who, request).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        let id = answer.json()["data"]["id"].as_str().unwrap().to_owned();
        patiently("the import has ended", async || {
            let import = self.get(who, &format!("/v1/imports/{id}")).await;
            (import["data"]["status"] == "succeeded").then_some(())
        })
        .await;
        id
    }

    async fn wait_for_index(&self, who: &Principal) {
        patiently("the index is complete", async || {
            let status = self.get(who, "/v1/search/status").await;
            (status["data"]["documents"] == 6 && status["data"]["pendingEmbeddings"] == 0)
                .then_some(())
        })
        .await;
    }

    async fn suspend_s(&self, mark: &str) {
        let staff = self.principal("staff", self.staff, None).await;
        let reason = json!({"reason": format!("{mark} has not paid")});
        self.post(
            &staff,
            &format!("/v1/tenants/{}/suspend", self.s.tenant_id),
            reason,
        )
        .await;
    }

    /// Waits until no event is on its way any more, so that rows stand still.
    pub async fn rest(&self) {
        patiently("every event has had its effect", async || {
            let waiting: i64 = self
                .count_of(
                    "select (select count(*) from auth.outbox) + (select count(*) from tenant.outbox)
                          + (select count(*) from niche.outbox) + (select count(*) from search.outbox)",
                )
                .await;
            let before = self.digests(None).await;
            // sleeps because the absence of a change shows only over time
            tokio::time::sleep(Duration::from_millis(150)).await;
            (waiting == 0 && before == self.digests(None).await).then_some(())
        })
        .await;
    }

    /// A word that nothing else has.
    pub fn fresh(&self, stem: &str) -> String {
        format!("{stem}-{}", self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Gets JSON, and fails unless it is a success.
    pub async fn get(&self, who: &Principal, target: &str) -> Value {
        let answer = self.http(who, HttpRequest::get(target)).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.body);
        answer.json()
    }

    /// Posts JSON, and fails unless it is a success.
    pub async fn post(&self, who: &Principal, target: &str, body: Value) -> Value {
        let request = HttpRequest {
            verb: reqwest::Method::POST,
            target: target.to_owned(),
            body: Some(("application/json".to_owned(), body.to_string().into_bytes())),
            headers: Vec::new(),
        };
        let answer = self.http(who, request).await;
        assert!(
            answer.status < 300,
            "{target}: {} {}",
            answer.status,
            answer.body
        );
        answer.json()
    }

    /// A way to a service within the process.
    pub fn channel(&self, service: &str) -> rpc::Channel {
        let name = format!("{}_GRPC_URL", service.to_uppercase());
        let endpoint: rpc::Endpoint = self
            .platform
            .settings
            .reader()
            .required(&name, "an endpoint of this process")
            .parse()
            .unwrap();
        rpc::connect(&endpoint)
    }

    /// `callee` as `caller` sees it, with the caller's own key.
    pub fn peer(&self, caller: &str, callee: &str) -> rpc::Peer {
        let keyring = rpc::Keyring::read(&mut self.platform.settings.reader(), caller);
        rpc::Peer::new(keyring, callee, Clock::system())
    }
}

/// Like `testkit::eventually`, for what takes a busy machine longer than its ten seconds.
pub async fn patiently<F: Future<Output = Option<()>>>(what: &str, mut probe: impl FnMut() -> F) {
    let polling = async {
        while probe().await.is_none() {
            // sleeps because what is waited for tells nobody when it is done
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), polling).await;
    assert!(waited.is_ok(), "waited in vain until {what}");
}

/// A new id of the form that the product gives.
pub fn new_id() -> Uuid {
    kernel::Ids::random(Clock::system()).next()
}

/// Every text field of the form has the name of its tenant.
fn record_of(slug: &str, number: u32) -> Value {
    json!({"data": {
        "name": format!("{slug}-{number}"), "version": format!("{slug}-1.{number}"), "section": "video", "architecture": slug,
        "homepage": format!("https://{slug}.example.com"), "maintainer": format!("{slug} Maintainer"),
        "summary": format!("{slug} plays {SHARED_WORD} films"), "description": format!("{slug} {SHARED_WORD} description"), "tags": [format!("{slug}-tag")],
    }})
}

/// One good row and two that break a rule, each with the name of the tenant.
fn csv_of(slug: &str) -> String {
    format!(
        "Package,Section,Homepage,Summary\n{slug}-imported,video,,{slug} {SHARED_WORD}\n{slug} no name,video,,x\n{slug}-bad,video,{slug} no address,x\n{slug}-fine,video,,{slug}\n"
    )
}
