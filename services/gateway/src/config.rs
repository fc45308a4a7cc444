//! Settings.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use runtime::Reader;

/// Everything that the gateway can be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// This process's key and whom it trusts (`GATEWAY_IDENTITY_KEY`, `TRUSTED_SERVICE_KEYS`).
    pub keyring: rpc::Keyring,
    /// Where the public port listens.
    pub http_listen: String,
    /// Where each service is reached: `http://host:port`, or `mem:<name>` inside one process.
    pub upstreams: Upstreams,
    /// How Redis is reached.
    pub cache: cache::Config,
    /// Browser origins that may call, for example `https://app.example.com`. Exact matches only.
    pub cors_origins: Vec<String>,
    /// Networks of the proxies in front; only from them `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether clients reach the gateway by TLS at an edge in front of it; then answers carry HSTS.
    pub behind_tls: bool,
    /// Multiplies every rate limit: for load tests and for plans of one's own.
    pub rate_limit_factor: f64,
    /// Gateways that share the traffic. While Redis is away each allows its part of a limit.
    pub replicas: u32,
    /// Threads that serve HTTP; 0 means one per core.
    pub workers: usize,
    /// How long a service may take to answer.
    pub request_timeout: Duration,
    /// How long a client may take to send the head of a request.
    pub head_timeout: Duration,
    /// How long a client may take to send a body, and between two parts of an upload.
    pub body_timeout: Duration,
    /// How long an upload may take as a whole.
    pub upload_timeout: Duration,
    /// The pause after which a silent event stream sends a sign of life.
    pub heartbeat: Duration,
    /// How long idle connections are kept.
    pub keep_alive: Duration,
    /// After how long without a word from auth cached access is no longer believed.
    pub access_silence_max: Duration,
}

/// Where each service is reached.
#[derive(Clone, Debug)]
pub struct Upstreams {
    pub auth: String,
    pub tenant: String,
    pub niche: String,
    pub search: String,
}

impl Upstreams {
    fn read(reader: &mut Reader) -> Self {
        Self {
            auth: reader.required_or_dev(
                "AUTH_GRPC_URL",
                "http://127.0.0.1:9101",
                "where auth is reached",
            ),
            tenant: reader.required_or_dev(
                "TENANT_GRPC_URL",
                "http://127.0.0.1:9102",
                "where tenant is reached",
            ),
            niche: reader.required_or_dev(
                "NICHE_GRPC_URL",
                "http://127.0.0.1:9103",
                "where niche is reached",
            ),
            search: reader.required_or_dev(
                "SEARCH_GRPC_URL",
                "http://127.0.0.1:9104",
                "where search is reached",
            ),
        }
    }

    /// Names and addresses; the name is also the first part of the proto package.
    pub fn all(&self) -> [(&'static str, &str); 4] {
        [
            ("auth", &self.auth),
            ("tenant", &self.tenant),
            ("niche", &self.niche),
            ("search", &self.search),
        ]
    }
}

const ADDRESS: &str = "127.0.0.1:8080";

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Config {
    /// Reads the settings; problems are kept in `reader`.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            keyring: rpc::Keyring::read(reader, "gateway"),
            http_listen: reader.text(
                "GATEWAY_HTTP_LISTEN",
                ADDRESS,
                "where the public port listens",
            ),
            upstreams: Upstreams::read(reader),
            cache: cache::Config::read(reader),
            cors_origins: origins(reader),
            trusted_proxies: proxies(reader),
            behind_tls: reader.flag(
                "GATEWAY_BEHIND_TLS",
                false,
                "whether clients come by TLS; answers then carry HSTS",
            ),
            rate_limit_factor: reader.number(
                "GATEWAY_RATE_LIMIT_FACTOR",
                1.0,
                0.01..=1_000_000.0,
                "multiplies every rate limit",
            ),
            replicas: reader.number(
                "GATEWAY_REPLICAS",
                1,
                1..=1000,
                "gateways that share the traffic",
            ),
            workers: reader.number("GATEWAY_WORKERS", 0, 0..=256, "threads; 0: one per core"),
            request_timeout: reader.duration_ms(
                "GATEWAY_REQUEST_TIMEOUT_MS",
                seconds(5),
                Duration::from_millis(100)..=seconds(60),
                "how long a service may take to answer",
            ),
            head_timeout: reader.duration_ms(
                "GATEWAY_HEAD_TIMEOUT_MS",
                seconds(10),
                Duration::from_millis(100)..=seconds(60),
                "how long a client may take to send the head of a request",
            ),
            body_timeout: reader.duration_ms(
                "GATEWAY_BODY_TIMEOUT_MS",
                seconds(30),
                Duration::from_millis(100)..=seconds(300),
                "how long a client may take to send a body, and between two parts of an upload",
            ),
            upload_timeout: reader.duration_ms(
                "GATEWAY_UPLOAD_TIMEOUT_MS",
                seconds(900),
                seconds(1)..=seconds(7200),
                "how long an upload may take as a whole",
            ),
            heartbeat: reader.duration_ms(
                "GATEWAY_HEARTBEAT_MS",
                seconds(15),
                Duration::from_millis(10)..=seconds(60),
                "the pause after which a silent event stream sends a sign of life",
            ),
            keep_alive: reader.duration_ms(
                "GATEWAY_KEEP_ALIVE_MS",
                seconds(75),
                Duration::from_millis(100)..=seconds(600),
                "how long idle connections are kept; longer than the proxy in front keeps them",
            ),
            access_silence_max: silence(reader),
        }
    }
}

fn silence(reader: &mut Reader) -> Duration {
    reader.duration_ms(
        "GATEWAY_ACCESS_SILENCE_MAX_MS",
        seconds(5),
        Duration::from_millis(100)..=seconds(30),
        "after how long without a word from auth cached access is no longer believed",
    )
}

fn origins(reader: &mut Reader) -> Vec<String> {
    const NAME: &str = "GATEWAY_CORS_ORIGINS";
    let origins = reader.list(
        NAME,
        "",
        "browser origins that may call, for example https://app.example.com",
    );
    for origin in &origins {
        let is_origin = origin.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some()
                && !origin.ends_with('/')
                && uri.query().is_none()
        });
        if !is_origin || origin.matches('/').count() != 2 {
            reader.problem(
                NAME,
                format!("has '{}', which is no origin", origin.escape_debug()),
                "scheme, host and port, without a path",
            );
        }
    }
    origins
}

fn proxies(reader: &mut Reader) -> Vec<IpNet> {
    const NAME: &str = "GATEWAY_TRUSTED_PROXIES";
    let mut networks = Vec::new();
    for text in reader.list(
        NAME,
        "",
        "networks of the proxies in front, for example 10.0.0.0/8; only they may name the client",
    ) {
        match text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        {
            Ok(network) => networks.push(network),
            Err(_) => reader.problem(
                NAME,
                format!("has '{}', which is no network", text.escape_debug()),
                "a CIDR such as 10.0.0.0/8",
            ),
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(map: &[(&str, &str)]) -> String {
        let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        let mut all = vec![
            ("TENANTRY_PROFILE", "dev"),
            ("GATEWAY_IDENTITY_KEY", key),
            (
                "TRUSTED_SERVICE_KEYS",
                "auth=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            ),
        ];
        all.extend_from_slice(map);
        let mut reader = Reader::from_map(all);
        Config::read(&mut reader);
        reader
            .finish()
            .err()
            .map(|problems| problems.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn the_dev_profile_needs_keys_only() {
        assert_eq!(problems(&[]), "");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = problems(&[
            ("GATEWAY_CORS_ORIGINS", "https://ok.example,*"),
            ("GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8,lan"),
        ]);
        assert!(
            text.contains("GATEWAY_CORS_ORIGINS") && text.contains("GATEWAY_TRUSTED_PROXIES"),
            "{text}"
        );
    }
}
