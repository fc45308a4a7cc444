//! A small HTTP client that says what the platform said when something is not as expected.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

/// A caller of the public API, signed in or not.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    token: Option<String>,
}

impl Client {
    /// A caller who has not signed in.
    pub fn new(base_url: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .build()?;
        Ok(Self {
            http,
            base_url: base_url.trim_end_matches('/').to_owned(),
            token: None,
        })
    }

    /// The same caller with an access token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The access token, for callers who speak HTTP themselves.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Posts JSON and answers the JSON of a success.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.json(self.request(Method::POST, path).json(body), path)
            .await
    }

    /// Gets JSON.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.json(self.request(Method::GET, path), path).await
    }

    /// Gets and answers only the status.
    pub async fn status(&self, path: &str) -> anyhow::Result<StatusCode> {
        Ok(self.send(self.request(Method::GET, path)).await?.status())
    }

    /// Sends a file as the body.
    pub async fn upload(
        &self,
        path: &str,
        media_type: &str,
        file: Vec<u8>,
    ) -> anyhow::Result<Value> {
        self.json(
            self.request(Method::POST, path)
                .header("content-type", media_type)
                .body(file),
            path,
        )
        .await
    }

    /// Opens a stream of server-sent events.
    pub async fn events(&self, path: &str) -> anyhow::Result<Response> {
        let response = self
            .send(
                self.request(Method::GET, path)
                    .header("accept", "text/event-stream"),
            )
            .await?;
        if !response.status().is_success() {
            bail!(
                "{path} answered {}: {}",
                response.status(),
                response.text().await?
            );
        }
        Ok(response)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.base_url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Response> {
        request.send().await.with_context(|| {
            format!(
                "cannot reach {}; start the platform with `./dev up` in another terminal",
                self.base_url
            )
        })
    }

    async fn json(&self, request: reqwest::RequestBuilder, path: &str) -> anyhow::Result<Value> {
        let response = self.send(request).await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{path} answered {status}: {text}");
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text)
            .with_context(|| format!("{path} answered something else than JSON"))
    }
}
