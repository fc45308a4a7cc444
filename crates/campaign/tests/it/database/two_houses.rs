//! A platform with two tenants whose texts cannot be mistaken for each other's.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use stack::demo::Client;

use campaign::{Platform, Surroundings};

pub const RECORDS: &str = "/v1/niches/software-catalog/packages/records";

pub struct House {
    pub client: Client,
    pub token: String,
    pub tenant_id: String,
    /// In every text of this tenant, and in nobody else's.
    pub canary: String,
}

pub async fn two_houses() -> (Platform, [House; 2]) {
    // Beside compilers a connection may take its time; how overload is refused is proven elsewhere.
    let patience = ["AUTH", "TENANT", "NICHE", "SEARCH"].map(|service| {
        (
            format!("{service}_DB_ACQUIRE_TIMEOUT_MS"),
            "15000".to_owned(),
        )
    });
    let platform = Platform::start_in(Surroundings {
        settings: patience.to_vec(),
        ..Surroundings::default()
    })
    .await;
    let houses = [
        settle(&platform, "Ana", "canary-of-ana").await,
        settle(&platform, "Bob", "canary-of-bob").await,
    ];
    (platform, houses)
}

async fn settle(platform: &Platform, name: &str, canary: &str) -> House {
    let resident = platform.settle(name, &format!("{name} {canary}")).await;
    let kit = json!({ "kit": "software-catalog" });
    resident.client.post("/v1/niches", &kit).await.unwrap();
    House {
        token: resident.client.token().unwrap().to_owned(),
        client: resident.client,
        tenant_id: resident.tenant_id,
        canary: canary.to_owned(),
    }
}

impl House {
    /// The body that creates a record.
    pub fn package(&self, name: &str) -> Value {
        json!({"data": {"name": name, "section": "web", "summary": format!("{} {name}", self.canary)}})
    }

    /// Creates a record and answers its id.
    pub async fn create(&self, name: &str) -> String {
        let created = self
            .client
            .post(RECORDS, &self.package(name))
            .await
            .unwrap();
        created["data"]["id"].as_str().unwrap().to_owned()
    }

    /// Sends one request without a body and answers status and body, the request's own id masked.
    pub async fn ask(
        &self,
        http: &reqwest::Client,
        base_url: &str,
        (method, path): (Method, &str),
    ) -> (StatusCode, String) {
        let url = format!("{base_url}{path}");
        let request = http
            .request(method, url)
            .bearer_auth(&self.token)
            .header("x-request-id", "one-of-many");
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }
}
