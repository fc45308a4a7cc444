//! A platform with a settled tenant, for callers who speak HTTP themselves.

use std::net::SocketAddr;

use campaign::{Platform, Surroundings};
use serde_json::{Value, json};
use stack::demo::Client;

/// Where the sample records live.
pub const RECORDS: &str = "/v1/niches/software-catalog/packages/records";
/// Where files are imported.
pub const IMPORTS: &str = "/v1/niches/software-catalog/packages/imports";

/// A running platform.
pub struct Stage {
    pub platform: Platform,
    pub address: SocketAddr,
}

/// A tenant with the niche `software-catalog`, one record and one import.
pub struct House {
    pub client: Client,
    pub token: String,
    pub tenant_id: String,
    pub record_id: String,
    pub import_id: String,
}

impl Stage {
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let platform = Platform::start_in(Surroundings {
            settings,
            ..Surroundings::default()
        })
        .await;
        let staff = platform.sign_in_as_admin().await;
        for path in ["/v1/tenants", "/v1/kits", "/v1/search/status"] {
            testkit::eventually("every service answers", async || {
                let status = staff.status(path).await.unwrap();
                (!status.is_server_error()).then_some(())
            })
            .await;
        }
        let address = platform
            .base_url
            .strip_prefix("http://")
            .unwrap()
            .parse()
            .unwrap();
        Self { platform, address }
    }

    pub async fn house(&self, name: &str) -> House {
        let resident = self.platform.settle(name, "house").await;
        let client = resident.client;
        client
            .post("/v1/niches", &json!({"kit": "software-catalog"}))
            .await
            .unwrap();
        let record = client
            .post(RECORDS, &json!({"data": {"name": "redis"}}))
            .await
            .unwrap();
        let file = b"Package,Section\nscreenfetch,utils\ntwo words,utils\n".to_vec();
        let import = client.upload(IMPORTS, "text/csv", file).await.unwrap();
        House {
            token: client.token().unwrap().to_owned(),
            tenant_id: resident.tenant_id,
            record_id: text(&record, "/data/id"),
            import_id: text(&import, "/data/id"),
            client,
        }
    }

    pub async fn staff_token(&self) -> String {
        let admin = self.platform.sign_in_as_admin().await;
        admin.token().unwrap().to_owned()
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{pointer} is not in {value}"))
        .to_owned()
}
