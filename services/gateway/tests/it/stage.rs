//! A gateway on a free port, with fake services behind it and a client in front.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use gateway::Config;
use gateway::config::Upstreams;
use kernel::{Clock, RequestContext};
use reqwest::{Client, Method, RequestBuilder, Response};
use rpc::Listener;
use runtime::{Process, Profile};
use serde_json::Value;
use testkit::{ANN, TENANT_A, keyring};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fake::{self, Fake};

/// Everything that a person may do in these tests.
pub const PERMISSIONS: [&str; 8] = [
    "records.create",
    "records.read",
    "records.update",
    "records.delete",
    "imports.create",
    "imports.read",
    "imports.cancel",
    "search.query",
];

pub struct Stage {
    pub address: SocketAddr,
    pub http: Client,
    pub fake: Arc<Fake>,
    pub process: Process,
    /// The services' process: it may end before the gateway's.
    pub services: Process,
}

/// What a client got.
pub struct Got {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Got {
    pub async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self {
            status,
            headers,
            text: response.text().await.unwrap(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// Whether any line of `Vary` names a header.
    pub fn varies(&self, by: &str) -> bool {
        self.headers
            .get_all("vary")
            .iter()
            .any(|value| value.to_str().unwrap().contains(by))
    }

    /// Checks both envelopes of a failure and gives its public code.
    pub fn problem(&self) -> String {
        let body = self.json();
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{}",
            self.text
        );
        assert_eq!(body["status"], self.status, "{}", self.text);
        let id = body["error"]["requestId"].as_str().unwrap();
        assert_eq!(body["instance"], format!("urn:request:{id}"));
        assert_eq!(self.header("x-request-id"), id);
        assert_eq!(body["detail"], body["error"]["message"]);
        let code = body["error"]["code"].as_str().unwrap().to_owned();
        assert_eq!(
            body["type"],
            format!(
                "https://tenantry.dev/problems/{}",
                code.to_lowercase().replace('_', "-")
            )
        );
        code
    }

    /// The fields of a validation failure as `path rule`, sorted.
    pub fn fields(&self) -> Vec<String> {
        let body = self.json();
        let fields = body["error"]["details"]["fields"]
            .as_array()
            .unwrap_or_else(|| panic!("no fields: {}", self.text));
        let mut fields: Vec<String> = fields
            .iter()
            .map(|f| {
                format!(
                    "{} {}",
                    f["field"].as_str().unwrap(),
                    f["rule"].as_str().unwrap()
                )
            })
            .collect();
        fields.sort();
        fields
    }
}

/// A person in a tenant with all of [`PERMISSIONS`].
pub fn ann() -> RequestContext {
    testkit::context()
        .user(ANN)
        .tenant(TENANT_A)
        .permissions(PERMISSIONS)
        .build()
}

impl Stage {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts everything; the credential `ann` is known.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let fake = Fake::new();
        fake.callers.lock().unwrap().insert("ann".into(), ann());
        let services = Process::new("services", Profile::Dev, Clock::system());
        let (auth, niche) = (bind().await, bind().await);
        let url = |listener: &Listener| listener.endpoint().unwrap().to_string();
        let mut config = config(&url(&auth), &url(&niche));
        fake::serve(&fake, auth, niche, &services);
        change(&mut config);
        let process = Process::new("gateway", Profile::Dev, Clock::system());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let running = process.clone();
        process.tasks.spawn("gateway", async move {
            gateway::run(config, listener, running).await.unwrap()
        });
        let http = Client::builder()
            .no_gzip()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let stage = Self {
            address,
            http,
            fake,
            process,
            services,
        };
        // The first sign of life from auth makes the cache usable, and the gateway ready.
        testkit::eventually("the gateway is ready", || {
            let request = stage.request("GET", "/health/ready");
            let stage = &stage;
            async move { (stage.send(request).await.status == 200).then_some(()) }
        })
        .await;
        stage
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.http.request(
            method.parse::<Method>().unwrap(),
            format!("http://{}{path}", self.address),
        )
    }

    /// A request of the person of [`ann`].
    pub fn as_ann(&self, method: &str, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth("ann")
    }

    pub async fn send(&self, request: RequestBuilder) -> Got {
        Got::read(
            request
                .timeout(Duration::from_secs(20))
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    /// Sends bytes as they are and reads until the server closes.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut socket = tokio::net::TcpStream::connect(self.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let reading = socket.read_to_end(&mut answer);
        // A connection that is cut after its answer still gave the answer.
        let _ = tokio::time::timeout(Duration::from_secs(15), reading)
            .await
            .expect("the server closes");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

async fn bind() -> Listener {
    Listener::bind("127.0.0.1:0").await.unwrap()
}

pub fn config(auth: &str, niche: &str) -> Config {
    let nobody = "http://127.0.0.1:9".to_owned();
    Config {
        keyring: keyring("gateway"),
        http_listen: String::new(),
        upstreams: Upstreams {
            auth: auth.to_owned(),
            tenant: nobody.clone(),
            niche: niche.to_owned(),
            search: nobody,
        },
        cache: testkit::redis(),
        cors_origins: vec!["https://app.example.com".to_owned()],
        trusted_proxies: Vec::new(),
        behind_tls: false,
        rate_limit_factor: 1.0,
        replicas: 1,
        workers: 1,
        request_timeout: Duration::from_secs(5),
        head_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(5),
        upload_timeout: Duration::from_secs(60),
        heartbeat: Duration::from_secs(15),
        keep_alive: Duration::from_secs(30),
        access_silence_max: Duration::from_secs(5),
    }
}
