//! The walk: sign up, create a tenant, choose a niche, import, find, and see that nobody else can.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use kernel::Clock;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Client, Narrator};

/// How often the folder of mails is looked at again.
const FOLDER_PAUSE: Duration = Duration::from_millis(50);
/// How often the platform is asked again: well below 100 requests a minute, which is what a person may send.
const API_PAUSE: Duration = Duration::from_secs(1);
/// The longest that a mail may take.
const MAIL_PATIENCE: Duration = Duration::from_secs(20);
/// The longest that import and index may take, on the slowest laptop.
const WORK_PATIENCE: Duration = Duration::from_secs(20 * 60);

/// What the walk needs to know.
pub struct Walk {
    /// Where the platform answers.
    pub base_url: String,
    /// Where it writes mails.
    pub mail_dir: PathBuf,
    /// The file to import into `software-catalog/packages`.
    pub csv: Vec<u8>,
    /// What to search for.
    pub query: String,
    /// The section to filter by.
    pub section: String,
    /// Whom to tell.
    pub narrator: Narrator,
}

/// What the walk found, for tests to look at.
#[derive(Debug)]
pub struct Outcome {
    /// The finished import.
    pub import: Value,
    /// The hits of the plain search.
    pub hits: Vec<Value>,
    /// The hits within the section.
    pub filtered: Vec<Value>,
    /// What the other tenant found by the same words.
    pub foreign_hits: Vec<Value>,
    /// What the other tenant got for the id of a hit.
    pub foreign_status: StatusCode,
    /// The actions of the audit log, newest first.
    pub actions: Vec<String>,
}

/// Somebody who has signed up and owns a tenant.
pub struct Resident {
    /// Signed in to that tenant.
    pub client: Client,
    /// The tenant.
    pub tenant_id: String,
}

impl Walk {
    /// Takes the walk and fails at the first step that is not as it should be.
    pub async fn take(&self) -> anyhow::Result<Outcome> {
        let resident = self.settle("Ana Souza", "software house").await?;
        let client = &resident.client;
        self.tell("Choosing the niche `software-catalog`");
        client
            .post("/v1/niches", &json!({ "kit": "software-catalog" }))
            .await?;
        let import = self.import(client).await?;
        self.wait_for_index(client, &import).await?;

        self.tell(&format!("Searching for \"{}\"", self.query));
        let hits = self
            .search(client, &json!({ "query": self.query, "limit": 5 }))
            .await?;
        self.tell(&format!("The same within the section `{}`", self.section));
        let filters = json!([{ "facet": "section", "values": [self.section] }]);
        let filtered = self
            .search(
                client,
                &json!({ "query": self.query, "limit": 5, "filters": filters }),
            )
            .await?;

        self.tell("A second customer with the same niche looks for the same words, and for one of those records by its id");
        let stranger = self.settle("Bruno Lima", "other house").await?;
        stranger
            .client
            .post("/v1/niches", &json!({ "kit": "software-catalog" }))
            .await?;
        let foreign_hits = self
            .search(
                &stranger.client,
                &json!({ "query": self.query, "limit": 5 }),
            )
            .await?;
        let id = hits
            .first()
            .and_then(|hit| hit["recordId"].as_str())
            .context("the search found nothing")?;
        let foreign_status = stranger
            .client
            .status(&format!(
                "/v1/niches/software-catalog/packages/records/{id}"
            ))
            .await?;
        self.tell(&format!(
            "  {} hits, and {foreign_status} for the id",
            foreign_hits.len()
        ));
        ensure!(
            foreign_hits.is_empty() && foreign_status == StatusCode::NOT_FOUND,
            "a tenant saw another tenant's data"
        );

        let actions = self.audit(client).await?;
        self.tell(&format!(
            "Done. Tenant {} is yours; have a look at {}/docs",
            resident.tenant_id, self.base_url
        ));
        Ok(Outcome {
            import,
            hits,
            filtered,
            foreign_hits,
            foreign_status,
            actions,
        })
    }

    fn tell(&self, text: &str) {
        (self.narrator)(text);
    }

    /// A stranger signs up, proves the address, signs in and creates a tenant.
    pub async fn settle(&self, name: &str, house: &str) -> anyhow::Result<Resident> {
        let ids = kernel::Ids::random(Clock::system());
        let tag = ids.next().simple().to_string();
        let tag = &tag[tag.len() - 10..];
        let email = format!("demo-{tag}@example.com");
        let password = format!("a long walk on the beach {tag}");
        let stranger = Client::new(&self.base_url)?;
        self.tell(&format!("Signing up {name} as {email}"));
        stranger
            .post(
                "/v1/auth/register",
                &json!({ "email": email, "password": password, "name": name }),
            )
            .await?;
        let token = self.token_from_mail(&email).await?;
        self.tell("  following the link in the mail");
        stranger
            .post("/v1/auth/verify-email", &json!({ "token": token }))
            .await?;
        let session = stranger
            .post(
                "/v1/auth/login",
                &json!({ "email": email, "password": password }),
            )
            .await?;
        let signed_in = stranger.with_token(text(&session, "/data/accessToken")?);

        let slug = format!("demo-{tag}");
        self.tell(&format!("Creating the tenant {slug}"));
        let tenant = signed_in
            .post(
                "/v1/tenants",
                &json!({ "slug": slug, "name": format!("Demo {house}") }),
            )
            .await?;
        let tenant_id = text(&tenant, "/data/id")?.to_owned();
        let session = signed_in
            .post("/v1/auth/switch-tenant", &json!({ "tenantId": tenant_id }))
            .await?;
        Ok(Resident {
            client: stranger.with_token(text(&session, "/data/accessToken")?),
            tenant_id,
        })
    }

    /// Reads the folder of mails until one to this address is there.
    async fn token_from_mail(&self, email: &str) -> anyhow::Result<String> {
        let found = patiently(MAIL_PATIENCE, FOLDER_PAUSE, async || {
            let Ok(mut folder) = tokio::fs::read_dir(&self.mail_dir).await else {
                return Ok(None);
            };
            while let Some(entry) = folder.next_entry().await? {
                let path = entry.path();
                if path.extension().is_none_or(|extension| extension != "eml") {
                    continue;
                }
                let mail = tokio::fs::read_to_string(&path).await?;
                if mail.contains(email)
                    && let Some((_, rest)) = mail.split_once("token=")
                {
                    return Ok(Some(
                        rest.chars().take_while(|c| !c.is_whitespace()).collect(),
                    ));
                }
            }
            Ok(None)
        });
        found
            .await?
            .with_context(|| format!("no mail to {email} arrived in {}", self.mail_dir.display()))
    }

    async fn import(&self, client: &Client) -> anyhow::Result<Value> {
        self.tell(&format!("Importing {:.1} MB", self.csv.len() as f64 / 1e6));
        let path = "/v1/niches/software-catalog/packages/imports";
        let started = Clock::system().instant();
        let import = client.upload(path, "text/csv", self.csv.clone()).await?;
        let id = text(&import, "/data/id")?.to_owned();
        self.follow(client, &id).await?;
        let import = client.get(&format!("/v1/imports/{id}")).await?["data"].take();
        let seconds = started.elapsed().as_secs_f64();
        let count = |field: &str| import[field].as_i64().unwrap_or(0);
        self.tell(&format!(
            "  {} in {seconds:.1} s ({:.0} records/s): {} created, {} unchanged, {} refused",
            text(&import, "/status")?,
            count("processedRows") as f64 / seconds,
            count("createdRows"),
            count("unchangedRows"),
            count("failedRows"),
        ));
        if count("failedRows") > 0 {
            let errors = client
                .get(&format!("/v1/imports/{id}/errors?limit=3"))
                .await?;
            for error in errors["data"].as_array().into_iter().flatten() {
                self.tell(&format!(
                    "    row {}: {} {}",
                    error["row"],
                    text(error, "/field")?,
                    text(error, "/message")?
                ));
            }
        }
        ensure!(
            import["status"] == "succeeded",
            "the import did not succeed: {import}"
        );
        Ok(import)
    }

    /// Shows progress from the event stream until it ends.
    async fn follow(&self, client: &Client, id: &str) -> anyhow::Result<()> {
        let mut stream = client.events(&format!("/v1/imports/{id}/progress")).await?;
        let mut buffer = String::new();
        let mut told = -1;
        while let Some(part) = stream.chunk().await? {
            buffer.push_str(&String::from_utf8_lossy(&part));
            while let Some((event, rest)) = buffer.split_once("\n\n") {
                let data: String = event
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .collect();
                let state: Value = serde_json::from_str(data.trim()).unwrap_or(Value::Null);
                let state = &state["data"];
                if let (Some(done), Some(all)) = (
                    state["processedBytes"].as_i64(),
                    state["fileBytes"].as_i64(),
                ) {
                    let percent = done * 100 / all.max(1);
                    // Every tenth is enough to see that it moves.
                    if percent / 10 > told {
                        told = percent / 10;
                        self.tell(&format!(
                            "  {percent:>3} %  {} records",
                            state["processedRows"]
                        ));
                    }
                }
                buffer = rest.to_owned();
            }
        }
        Ok(())
    }

    async fn wait_for_index(&self, client: &Client, import: &Value) -> anyhow::Result<()> {
        let wanted = import["createdRows"].as_i64().unwrap_or(0);
        self.tell("Waiting for the index to catch up");
        let started = Clock::system().instant();
        let caught_up = patiently(WORK_PATIENCE, API_PAUSE, async || {
            let status = client.get("/v1/search/status").await?;
            let documents = status["data"]["documents"].as_i64().unwrap_or(0);
            let pending = status["data"]["pendingEmbeddings"].as_i64().unwrap_or(0);
            Ok((documents >= wanted && pending == 0).then_some(documents))
        });
        let documents = caught_up.await?.context("the index did not catch up")?;
        let seconds = started.elapsed().as_secs_f64();
        self.tell(&format!(
            "  {documents} documents with their embeddings, {:.0} a second after the import",
            documents as f64 / seconds.max(0.001)
        ));
        Ok(())
    }

    async fn search(&self, client: &Client, request: &Value) -> anyhow::Result<Vec<Value>> {
        let answer = client.post("/v1/search", request).await?;
        let hits = answer["data"].as_array().cloned().unwrap_or_default();
        for hit in &hits {
            self.tell(&format!(
                "  {:<24} {}",
                text(hit, "/title")?,
                text(hit, "/highlight")?
            ));
        }
        Ok(hits)
    }

    /// The audit log is written by a worker, so the last action takes a moment to appear.
    async fn audit(&self, client: &Client) -> anyhow::Result<Vec<String>> {
        self.tell("The audit log says who did what");
        let seen = patiently(MAIL_PATIENCE, API_PAUSE, async || {
            let log = client.get("/v1/audit-logs?limit=20").await?;
            let entries = log["data"].as_array().cloned().unwrap_or_default();
            let has = |action: &str| entries.iter().any(|entry| entry["action"] == action);
            Ok(
                (has("imports.create") && has("niches.activate") && has("tenants.create"))
                    .then_some(entries),
            )
        });
        let entries = seen.await?.context("the audit log is incomplete")?;
        for entry in &entries {
            let field = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            self.tell(&format!(
                "  {}  {} {}  {}",
                field("createdAt"),
                field("actorType"),
                field("actorId"),
                field("action")
            ));
        }
        Ok(entries
            .iter()
            .filter_map(|entry| entry["action"].as_str().map(str::to_owned))
            .collect())
    }
}

/// Looks again and again until there is something, but no longer than `patience`.
async fn patiently<T>(
    patience: Duration,
    pause: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Option<T>> {
    let clock = Clock::system();
    let started = clock.instant();
    while clock.instant() - started < patience {
        if let Some(found) = look().await? {
            return Ok(Some(found));
        }
        tokio::time::sleep(pause).await;
    }
    Ok(None)
}

fn text<'a>(value: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    match value.pointer(pointer) {
        Some(Value::String(text)) => Ok(text),
        Some(Value::Null) | None => bail!("{pointer} is missing in {value}"),
        Some(other) => bail!("{pointer} is {other}, not a text"),
    }
}
