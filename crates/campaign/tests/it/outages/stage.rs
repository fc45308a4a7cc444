//! A platform behind gates, with somebody who works on it, and what they do all day.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use campaign::{ADMIN_PASSWORD, FakeEmbedder, Gates, Platform, Surroundings};
use kernel::{Clock, Ids};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use testkit::{Proxy, eventually};
use tokio::net::TcpListener;

const RECORDS: &str = "/v1/niches/software-catalog/packages/records";
/// Longer than any answer may take; what needs longer counts as no answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client asks for; the columns of the table.
pub const OPERATIONS: [&str; 15] = [
    "live",
    "ready",
    "metrics",
    "login",
    "refresh",
    "read",
    "list",
    "create",
    "create with key",
    "hybrid",
    "keyword",
    "upload",
    "import",
    "new tenant",
    "suspend",
];

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// `ok`, `ok degraded`, `503`, `404 NOT_FOUND`, `silence`.
    pub answer: String,
    pub took: Duration,
    /// A failure without a request id, with a wrong code, or a 503 without `Retry-After` says so here.
    pub flaw: Option<String>,
}

pub struct Stage {
    pub platform: Platform,
    pub gates: Arc<Gates>,
    pub embedder: FakeEmbedder,
    pub embedder_gate: Proxy,
    /// The broker and the names on it.
    pub amqp: events::Config,
    http: reqwest::Client,
    admin: Mutex<Session>,
    owner: String,
    inspect: String,
    record: String,
    import: String,
    victim: String,
}

#[derive(Clone, Default)]
struct Session {
    access: String,
    refresh: String,
}

impl Stage {
    pub async fn set() -> Self {
        let gates = Gates::build().await;
        let embedder = FakeEmbedder::start().await;
        let embedder_gate = Proxy::to(&embedder.url).await;
        let mut surroundings = Surroundings::behind(&gates);
        surroundings.embedder_url = Some(embedder_gate.url_of(&embedder.url));
        surroundings
            .settings
            .push(("AUTH_ACCESS_TTL_S".to_owned(), "3600".to_owned()));
        for service in ["AUTH", "TENANT", "NICHE", "SEARCH"] {
            // As in production.
            let setting = format!("{service}_DB_ACQUIRE_TIMEOUT_MS");
            surroundings.settings.push((setting, "1000".to_owned()));
        }
        let amqp = surroundings.amqp.clone();
        let platform = Platform::start_in(surroundings).await;
        let admin_port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inspect = format!("http://{}", admin_port.local_addr().unwrap());
        runtime::admin::serve(admin_port, &platform.process, None);
        let resident = platform.settle("Olga", "Casa Azul").await;
        let mut stage = Self {
            owner: resident.client.token().unwrap().to_owned(),
            platform,
            gates,
            embedder,
            embedder_gate,
            amqp,
            http: reqwest::Client::builder()
                .timeout(PATIENCE)
                .build()
                .unwrap(),
            admin: Mutex::default(),
            inspect,
            record: String::new(),
            import: String::new(),
            victim: String::new(),
        };
        stage.furnish().await;
        stage
    }

    /// One of everything that the operations need.
    async fn furnish(&mut self) {
        let niche = json!({"kit": "software-catalog"});
        eventually("the niche is active", async || {
            // The gateway is ready before each service has noted its kits.
            let sent = self.post("/v1/niches", &self.owner).json(&niche).send();
            let status = sent.await.ok()?.status();
            (status.is_success() || status == StatusCode::CONFLICT).then_some(())
        })
        .await;
        let session = self.must("/v1/auth/login", "", &login()).await;
        *self.admin.lock().unwrap() = session_of(&session);
        let record = self.must(RECORDS, &self.owner, &record("redis")).await;
        self.record = record["data"]["id"].as_str().unwrap().to_owned();
        let upload = self.upload().send().await.unwrap();
        let import: Value = upload.json().await.unwrap();
        self.import = import["data"]["id"].as_str().unwrap().to_owned();
        let tenant = self
            .must("/v1/tenants", &self.admin().access, &new_tenant())
            .await;
        self.victim = tenant["data"]["id"].as_str().unwrap().to_owned();
        eventually(
            "both records are in the index with their vectors",
            async || {
                let status = self.get("/v1/search/status", &self.owner).send().await;
                let status: Value = status.unwrap().json().await.unwrap();
                let data = &status["data"];
                (data["documents"] == 2 && data["pendingEmbeddings"].as_i64().unwrap_or(0) == 0)
                    .then_some(())
            },
        )
        .await;
    }

    async fn must(&self, path: &str, token: &str, body: &Value) -> Value {
        let response = self.post(path, token).json(body).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn admin(&self) -> Session {
        self.admin.lock().unwrap().clone()
    }

    fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.platform.base_url);
        let request = self.http.request(method, url);
        if token.is_empty() {
            request
        } else {
            request.bearer_auth(token)
        }
    }

    fn get(&self, path: &str, token: &str) -> RequestBuilder {
        self.request(Method::GET, path, token)
    }

    fn post(&self, path: &str, token: &str) -> RequestBuilder {
        self.request(Method::POST, path, token)
    }

    fn upload(&self) -> RequestBuilder {
        self.post("/v1/niches/software-catalog/packages/imports", &self.owner)
            .header("content-type", "text/csv")
            .body("name,section\nmpv,video\n")
    }

    fn prepare(&self, operation: &str) -> RequestBuilder {
        let owner = self.owner.as_str();
        let search = |mode: &str| {
            self.post("/v1/search", owner)
                .json(&json!({"query": "redis", "mode": mode}))
        };
        match operation {
            "live" => self.get("/health/live", ""),
            "ready" => self.get("/health/ready", ""),
            "metrics" => self.http.get(format!("{}/metrics", self.inspect)),
            "login" => self.post("/v1/auth/login", "").json(&login()),
            "refresh" => self
                .post("/v1/auth/refresh", "")
                .json(&json!({"refreshToken": self.admin().refresh})),
            "read" => self.get(&format!("{RECORDS}/{}", self.record), owner),
            "list" => self.get(&format!("{RECORDS}?limit=25"), owner),
            "create" => self.post(RECORDS, owner).json(&record(&unique())),
            "create with key" => self
                .post(RECORDS, owner)
                .header("idempotency-key", unique())
                .json(&record(&unique())),
            "hybrid" => search("hybrid"),
            "keyword" => search("keyword"),
            "upload" => self.upload(),
            "import" => self.get(&format!("/v1/imports/{}", self.import), owner),
            "new tenant" => self
                .post("/v1/tenants", &self.admin().access)
                .json(&new_tenant()),
            "suspend" => self
                .post(
                    &format!("/v1/tenants/{}/suspend", self.victim),
                    &self.admin().access,
                )
                .json(&json!({"reason": "a fire drill"})),
            other => panic!("{other} is no operation"),
        }
    }

    /// Does it once and says what came of it.
    pub async fn perform(&self, operation: &str) -> Measured {
        let clock = Clock::system();
        let started = clock.instant();
        let sent = self.prepare(operation).send().await;
        let (status, headers, text) = match sent {
            Ok(response) => {
                let (status, headers) = (response.status(), response.headers().clone());
                (status, headers, response.text().await.unwrap_or_default())
            }
            Err(error) => {
                return Measured {
                    answer: "silence".to_owned(),
                    took: started.elapsed(),
                    flaw: Some(error.to_string()),
                };
            }
        };
        let took = started.elapsed();
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            self.note(operation, &body);
            let degraded = body["meta"]["degraded"] == true;
            let answer = if degraded { "ok degraded" } else { "ok" };
            return Measured {
                answer: answer.to_owned(),
                took,
                flaw: None,
            };
        }
        let code = body["error"]["code"].as_str().unwrap_or("none");
        let answer = match (status, code) {
            (StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE") => "503".to_owned(),
            (status, code) => format!("{} {code}", status.as_u16()),
        };
        let waits = headers
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
            .is_some_and(|seconds| seconds >= 1);
        let flaw = (status == StatusCode::SERVICE_UNAVAILABLE && !waits)
            .then(|| "without Retry-After".to_owned());
        Measured { answer, took, flaw }
    }

    /// A refresh token is used up by its use.
    fn note(&self, operation: &str, body: &Value) {
        if operation == "refresh" || operation == "login" {
            *self.admin.lock().unwrap() = session_of(body);
        }
    }

    /// Waits until everything answers as on a good day; how long that took.
    pub async fn recovered(&self, operations: &[&str]) -> Duration {
        let clock = Clock::system();
        let started = clock.instant();
        eventually("everything works again", async || {
            for operation in operations {
                let measured = self.perform(operation).await;
                if measured.answer != "ok" {
                    return None;
                }
            }
            Some(())
        })
        .await;
        started.elapsed()
    }

    /// Uploads a file and answers the import's id.
    pub async fn import(&self, file: String) -> String {
        let sent = self.upload().body(file).send().await.unwrap();
        let import: Value = sent.json().await.unwrap();
        import["data"]["id"].as_str().unwrap().to_owned()
    }

    pub async fn import_status(&self, id: &str) -> Value {
        self.see(&format!("/v1/imports/{id}")).await
    }

    pub async fn index_status(&self) -> Value {
        self.see("/v1/search/status").await
    }

    async fn see(&self, path: &str) -> Value {
        let sent = self.get(path, &self.owner).send().await.unwrap();
        let mut body: Value = sent.json().await.unwrap();
        body["data"].take()
    }

    pub async fn create(&self, name: &str) {
        self.must(RECORDS, &self.owner, &record(name)).await;
    }

    pub async fn search(&self, query: &Value) -> Value {
        self.must("/v1/search", &self.owner, query).await
    }

    /// Brings the tenant back that the drill suspends.
    pub async fn reactivate(&self) {
        let path = format!("/v1/tenants/{}/reactivate", self.victim);
        // Refused when it is active, which is as good.
        drop(
            self.post(&path, &self.admin().access)
                .json(&json!({}))
                .send()
                .await,
        );
    }

    /// Rows of a table, past all policies.
    pub async fn count(&self, table: &str) -> i64 {
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        sqlx::query_scalar(sql)
            .fetch_one(&mut self.platform.db.admin().await)
            .await
            .unwrap()
    }
}

fn login() -> Value {
    json!({"email": "admin@example.com", "password": ADMIN_PASSWORD})
}

fn session_of(body: &Value) -> Session {
    let text = |key: &str| body["data"][key].as_str().unwrap_or_default().to_owned();
    Session {
        access: text("accessToken"),
        refresh: text("refreshToken"),
    }
}

fn record(name: &str) -> Value {
    json!({"data": {"name": name, "section": "database"}})
}

fn new_tenant() -> Value {
    let slug = unique();
    let owner = json!({"email": format!("{slug}@example.com"), "name": "Olga"});
    json!({"slug": slug, "name": "Casa Azul", "adminUser": owner})
}

pub fn unique() -> String {
    let id = Ids::random(Clock::system()).next().simple().to_string();
    format!("x{}", &id[id.len() - 14..])
}
