//! One request to one method: who, whether, how often, what, and the answer.

use std::sync::Arc;

use actix_http::body::BoxBody;
use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_http::{HttpMessage as _, Method as Verb, Payload, Request, Response, StatusCode};
use bytes::Bytes;
use cache::Verdict;
use kernel::{ClientInfo, ErrorCode, Result};
use proto::json::{self, Selection};
use rpc::Forward;

use crate::arrival::{self, Arrival};
use crate::authn::{Access, Credential, Origin};
use crate::handle::Worker;
use crate::intake::{self, Announced};
use crate::limits;
use crate::routes::{Answer, BodyRule, Method, table};
use crate::streams;
use crate::transcode::{self, Body, Bound, Parts};
use crate::uploads::{self, Upload};

/// A request whose method has been found.
pub struct Call<'c> {
    pub worker: &'c Worker,
    pub method: &'static Method,
    pub captures: &'c [&'c str],
    pub request: &'c Request,
    pub arrival: &'c Arrival,
}

/// What is known of a call while it runs, for the log and the headers of its answer, whatever that is.
#[derive(Default)]
pub struct Findings {
    pub access: Option<Arc<Access>>,
    pub verdict: Option<Verdict>,
    /// Whether the service has been asked: then a failure speaks in the names of the contract, before in those of JSON.
    pub asked: bool,
}

impl Call<'_> {
    /// Runs the call.
    pub async fn run(
        &self,
        payload: Payload,
        findings: &mut Findings,
    ) -> Result<Response<BoxBody>> {
        let headers = self.request.headers();
        let address = arrival::limit_subject(self.arrival.ip);
        if let Some(credential) = intake::credential(headers, self.method)? {
            findings.access = Some(self.authenticate(&credential, &address, findings).await?);
        }
        let access = findings.access.as_deref();
        if let Some(access) = access {
            access.check(self.method.policy)?;
        }
        findings.verdict = self
            .worker
            .shared
            .limits
            .check(self.method.policy.rate, &address, access)
            .await;
        if let Some(verdict) = findings
            .verdict
            .as_ref()
            .filter(|verdict| !verdict.allowed())
        {
            return Err(limits::refusal(verdict));
        }
        let client = ClientInfo {
            ip: Some(self.arrival.ip),
            user_agent: arrival::agent(headers).unwrap_or_default().to_owned(),
        };
        let forward = Forward {
            context_token: access.map(|access| access.context_token.as_str()),
            request_id: &self.arrival.request_id,
            traceparent: Some(self.arrival.trace.parent()),
            idempotency_key: intake::idempotency_key(headers, self.method)?,
            locale: self.arrival.locale,
            client: Some(&client),
            timeout: Some(self.worker.shared.config.request_timeout),
        };
        let announced = Announced::read(headers, self.method)?;
        if self.method.streams_in {
            let bound = self.bind(
                &[],
                &Announced {
                    content_type: "",
                    length: None,
                    is_present: false,
                },
            )?;
            findings.asked = true;
            return self
                .upload(payload, announced.content_type, bound, forward)
                .await;
        }
        let body = match announced.is_present {
            true => {
                intake::read(
                    payload,
                    self.method.policy.body_bytes_max,
                    self.worker.shared.config.body_timeout,
                )
                .await?
            }
            false => Bytes::new(),
        };
        let bound = self.bind(&body, &announced)?;
        findings.asked = true;
        match self.method.answer {
            Answer::Json | Answer::Raw => self.unary(bound, &forward).await,
            Answer::Events => self.events(bound, forward, findings).await,
            Answer::RawStream => self.file(bound, forward).await,
        }
    }

    async fn authenticate(
        &self,
        credential: &Credential<'_>,
        address: &str,
        findings: &mut Findings,
    ) -> Result<Arc<Access>> {
        let shared = &self.worker.shared;
        let auth = self.worker.upstreams.get("auth")?;
        let origin = Origin {
            id: &self.arrival.request_id,
            traceparent: self.arrival.trace.parent(),
            locale: self.arrival.locale,
        };
        let outcome = shared.authn.resolve(auth, credential, &origin).await;
        if let Err(error) = &outcome
            && matches!(error.error_code(), ErrorCode::InvalidToken)
        {
            // Guessing is counted per address, because there is nobody else to count.
            let verdict = shared.limits.count_bad_credential(address).await;
            if !verdict.allowed() {
                let refusal = limits::refusal(&verdict);
                findings.verdict = Some(verdict);
                return Err(refusal);
            }
        }
        outcome
    }

    fn bind(&self, body: &[u8], announced: &Announced<'_>) -> Result<Bound> {
        let body = match self.method.body {
            BodyRule::Raw(_) => Body::Raw {
                content_type: announced.content_type,
                bytes: body,
            },
            _ if body.is_empty() => Body::Empty,
            _ => Body::Json(body),
        };
        let parts = Parts {
            captures: self.captures,
            query: self.request.uri().query().unwrap_or_default(),
            body,
            if_match: arrival::text(self.request.headers(), header::IF_MATCH.as_str()),
        };
        transcode::bind(&table().shapes, self.method, &parts)
    }

    async fn unary(&self, bound: Bound, forward: &Forward<'_>) -> Result<Response<BoxBody>> {
        let upstream = self.worker.upstreams.get(self.method.policy.owner)?;
        let answer = upstream
            .unary(self.method, forward, Bytes::from(bound.message))
            .await?;
        fail::fail_point!("gateway.before_answer");
        let replayed = answer.metadata().contains_key(rpc::metadata::REPLAYED);
        Ok(self.success(answer.get_ref(), bound.selection.as_ref(), replayed))
    }

    async fn upload(
        &self,
        payload: Payload,
        content_type: &str,
        bound: Bound,
        forward: Forward<'_>,
    ) -> Result<Response<BoxBody>> {
        let config = &self.worker.shared.config;
        let upload = Upload {
            method: self.method,
            forward: Forward {
                timeout: Some(config.upload_timeout),
                ..forward
            },
            head: bound.message,
            content_type,
            payload,
            pause_max: config.body_timeout,
        };
        let upstream = self.worker.upstreams.get(self.method.policy.owner)?;
        let answer = uploads::send(upstream, upload).await?;
        let replayed = answer.metadata().contains_key(rpc::metadata::REPLAYED);
        Ok(self.success(answer.get_ref(), bound.selection.as_ref(), replayed))
    }

    async fn events(
        &self,
        bound: Bound,
        forward: Forward<'_>,
        findings: &Findings,
    ) -> Result<Response<BoxBody>> {
        if self.request.method() == Verb::HEAD {
            return Ok(streams::head_only());
        }
        let shared = &self.worker.shared;
        let upstream = self.worker.upstreams.get(self.method.policy.owner)?;
        let forward = Forward {
            timeout: None,
            ..forward
        };
        let messages = upstream
            .streaming(
                self.method,
                &forward,
                Bytes::from(bound.message),
                shared.config.request_timeout,
            )
            .await?;
        let listener = match &findings.access {
            None => None,
            Some(access) => Some(streams::Listener {
                access: Arc::clone(access),
                headers: credentials_of(self.request.headers()),
                authn: Arc::clone(&shared.authn),
                auth: self.worker.upstreams.get("auth")?.clone(),
            }),
        };
        Ok(streams::events(streams::Events {
            method: self.method,
            messages,
            selection: bound.selection,
            request_id: self.arrival.request_id.clone(),
            traceparent: self.arrival.trace.parent().to_owned(),
            locale: self.arrival.locale,
            heartbeat: shared.config.heartbeat,
            shutdown: shared.process.shutdown.clone(),
            listener,
        }))
    }

    async fn file(&self, bound: Bound, forward: Forward<'_>) -> Result<Response<BoxBody>> {
        let shared = &self.worker.shared;
        let upstream = self.worker.upstreams.get(self.method.policy.owner)?;
        let forward = Forward {
            timeout: None,
            ..forward
        };
        let parts = upstream
            .streaming(
                self.method,
                &forward,
                Bytes::from(bound.message),
                shared.config.request_timeout,
            )
            .await?;
        streams::file(parts).await
    }

    fn success(
        &self,
        message: &[u8],
        selection: Option<&Selection>,
        replayed: bool,
    ) -> Response<BoxBody> {
        let status =
            StatusCode::from_u16(self.method.policy.success_status).unwrap_or(StatusCode::OK);
        let mut response = Response::with_body(status, BoxBody::new(()));
        if replayed {
            response.headers_mut().insert(
                HeaderName::from_static(rpc::metadata::REPLAYED),
                HeaderValue::from_static("true"),
            );
        }
        if let Some(tag) = self.etag(message) {
            let known = is_known(self.request.headers(), &tag)
                && matches!(*self.request.method(), Verb::GET | Verb::HEAD);
            response.headers_mut().insert(header::ETAG, tag);
            // The client may keep it, and must ask before it uses it again.
            response.headers_mut().insert(
                header::CACHE_CONTROL,
                HeaderValue::from_static("private, no-cache"),
            );
            if known {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return response;
            }
        }
        if status == StatusCode::NO_CONTENT {
            return response;
        }
        if self.method.answer == Answer::Raw {
            let (content_type, data) = transcode::read_http_body(message);
            let value = HeaderValue::from_str(content_type)
                .ok()
                .filter(|value| !value.is_empty());
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                value.unwrap_or(HeaderValue::from_static("application/octet-stream")),
            );
            return response.set_body(BoxBody::new(Bytes::copy_from_slice(data)));
        }
        let json = json::write(&table().shapes, self.method.output, message, selection);
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        response.set_body(BoxBody::new(Bytes::from(json)))
    }

    fn etag(&self, message: &[u8]) -> Option<HeaderValue> {
        let (data, version) = self.method.etag?;
        let version = json::version_of(message, data, version)?;
        HeaderValue::from_str(&format!("\"{version}\"")).ok()
    }
}

/// Whether `If-None-Match` names the version at hand; weak marks do not matter there (RFC 9110 section 13.1.2).
pub fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let Ok(tag) = tag.to_str() else { return false };
    let mut lines = headers
        .get_all(header::IF_NONE_MATCH)
        .filter_map(|value| value.to_str().ok());
    lines.any(|line| {
        line.split(',')
            .map(str::trim)
            .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
    })
}

fn credentials_of(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in ["authorization", "x-api-key", "x-tenant-id"] {
        if let Some(value) = headers.get(name) {
            kept.insert(HeaderName::from_static(name), value.clone());
        }
    }
    kept
}
