//! Callers that keep working while things are done to the platform, and remember what they were told.

mod actors;
mod ledger;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;

pub use actors::{
    RowsPerImport, keep_creating_tenants, keep_importing, keep_reading, keep_refreshing,
    keep_writing,
};
pub use ledger::{Ledger, Written};

/// Longer than the longest deadline of the platform.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// A client waits a little before it asks again.
const AGAIN: Duration = Duration::from_millis(100);
/// A call whose outcome stays unknown for so long is given up: the platform did not come back.
const PATIENCE_ATTEMPTS: usize = 600;

/// One request, which may be sent more than once.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    key: Option<String>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Nothing,
    Json(Value),
    Csv(String),
}

impl Call {
    /// Reads.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, Content::Nothing)
    }

    /// Posts JSON.
    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::POST, path, Content::Json(body))
    }

    /// Changes by a merge patch.
    pub fn patch(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::PATCH, path, Content::Json(body))
    }

    /// Deletes.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, Content::Nothing)
    }

    /// Uploads a CSV file.
    pub fn upload(path: impl Into<String>, csv: String) -> Self {
        Self::new(Method::POST, path, Content::Csv(csv))
    }

    /// With an idempotency key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    fn new(method: Method, path: impl Into<String>, content: Content) -> Self {
        Self {
            method,
            path: path.into(),
            key: None,
            content,
        }
    }
}

/// What a client knows after a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The platform has decided.
    Known(StatusCode, Value),
    /// Nobody knows whether it happened; why that is.
    Unknown(String),
}

/// Counts over all callers.
#[derive(Clone, Default)]
pub struct Tally(Arc<Counts>);

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    unknown: AtomicU64,
    notes: Mutex<Vec<String>>,
}

impl Tally {
    /// Requests sent, repetitions included.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::SeqCst)
    }

    /// Requests whose outcome the client did not learn.
    pub fn unknown(&self) -> u64 {
        self.0.unknown.load(Ordering::SeqCst)
    }

    /// Notes something that must not happen.
    pub fn note(&self, what: String) {
        self.notes().push(what);
    }

    /// What must not have happened.
    pub fn notes(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who calls the public API.
#[derive(Clone)]
pub struct Caller {
    http: reqwest::Client,
    base_url: String,
    token: Option<String>,
    /// What this caller and others have met.
    pub tally: Tally,
    /// Whether a request that fails for any reason of the platform is a defect; otherwise it is repeated.
    is_strict: bool,
}

impl Caller {
    /// Somebody who repeats what has failed, as a client must while processes die.
    pub fn patient(base_url: &str, tally: &Tally) -> Self {
        Self::new(base_url, tally, false)
    }

    /// Somebody for whom nothing may fail. What fails is noted, and then repeated, so that the books stay right.
    pub fn strict(base_url: &str, tally: &Tally) -> Self {
        Self::new(base_url, tally, true)
    }

    fn new(base_url: &str, tally: &Tally, is_strict: bool) -> Self {
        Self {
            http: reqwest::Client::builder()
                .timeout(ANSWER_MAX)
                .build()
                .unwrap(),
            base_url: base_url.to_owned(),
            token: None,
            tally: tally.clone(),
            is_strict,
        }
    }

    /// The same with an access token and connections of their own.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..Self::new(&self.base_url, &self.tally, self.is_strict)
        }
    }

    /// The same with connections of their own.
    #[must_use]
    pub fn with_own_connections(&self) -> Self {
        Self {
            token: self.token.clone(),
            ..Self::new(&self.base_url, &self.tally, self.is_strict)
        }
    }

    /// Sends it once.
    pub async fn once(&self, call: &Call) -> Outcome {
        self.tally.0.sent.fetch_add(1, Ordering::SeqCst);
        let outcome = self.send(call).await;
        if let Outcome::Unknown(why) = &outcome {
            self.tally.0.unknown.fetch_add(1, Ordering::SeqCst);
            if self.is_strict || why.starts_with("500") {
                self.tally
                    .note(format!("{} {}: {why}", call.method, call.path));
            }
        }
        outcome
    }

    /// Sends it until the platform has decided.
    pub async fn known(&self, call: &Call) -> (StatusCode, Value) {
        for _ in 0..PATIENCE_ATTEMPTS {
            if let Outcome::Known(status, body) = self.once(call).await {
                return (status, body);
            }
            tokio::time::sleep(AGAIN).await;
        }
        panic!("{} {} is never decided", call.method, call.path);
    }

    async fn send(&self, call: &Call) -> Outcome {
        let url = format!("{}{}", self.base_url, call.path);
        let mut request = self.http.request(call.method.clone(), url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        request = match &call.content {
            Content::Nothing => request,
            Content::Json(body) => request.json(body),
            Content::Csv(file) => request
                .header("content-type", "text/csv")
                .body(file.clone()),
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Outcome::Unknown(chain(&error)),
        };
        let status = response.status();
        let text = match response.text().await {
            Ok(text) => text,
            Err(error) => return Outcome::Unknown(chain(&error)),
        };
        if status.is_server_error()
            || status == StatusCode::TOO_MANY_REQUESTS
            || text.contains("idempotency.in_progress")
        {
            return Outcome::Unknown(format!("{} {text}", status.as_u16()));
        }
        Outcome::Known(status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

/// The client's own text says only that it failed; why stands in the causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
