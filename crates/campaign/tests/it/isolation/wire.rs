//! Requests made from the contract, over HTTP through the gateway and over gRPC straight to a service.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, BufMut as _, Bytes};
use futures::StreamExt as _;
use prost_reflect::Kind;
use reqwest::header::HeaderMap;
use rpc::Forward;
use serde_json::{Value, json};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

use super::contract::{self, Method};
use super::people::{Credential, Principal};
use super::world::World;

/// How often a request comes back to a machine that is too busy.
const COME_BACK_MAX: usize = 10;

/// What came back over HTTP.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

/// What came back over gRPC: the JSON form of the first message, or the failure.
pub type RpcAnswer = Result<Value, kernel::Error>;

/// A request on its way to the public port.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    pub verb: reqwest::Method,
    pub target: String,
    pub body: Option<(String, Vec<u8>)>,
    pub headers: Vec<(String, String)>,
}

impl HttpRequest {
    /// The request of a method's main route; `message` is its JSON form.
    pub fn of(method: &Method, message: &Value) -> Self {
        let rule = &method.policy.http[0];
        let mut left = message.clone();
        let mut path = rule.path.to_owned();
        for field in method.descriptor.input().fields() {
            let variable = format!("{{{}}}", field.name());
            if path.contains(&variable) {
                let value = left
                    .as_object_mut()
                    .and_then(|left| left.remove(field.json_name()));
                path = path.replace(
                    &variable,
                    &escaped(value.as_ref().and_then(Value::as_str).unwrap_or_default()),
                );
            }
        }
        let body = match rule.body {
            "" => None,
            "*" => Some(("application/json".to_owned(), left.to_string().into_bytes())),
            _ => Some((
                "text/csv".to_owned(),
                method.fixture.file.clone().into_bytes(),
            )),
        };
        let target = if rule.body == "*" {
            path
        } else {
            format!("{path}{}", query_of(&left))
        };
        Self {
            verb: rule.verb.parse().unwrap(),
            target,
            body,
            headers: Vec::new(),
        }
    }

    /// A plain read.
    pub fn get(target: &str) -> Self {
        Self {
            verb: reqwest::Method::GET,
            target: target.to_owned(),
            body: None,
            headers: Vec::new(),
        }
    }

    /// JSON to a target.
    pub fn post(target: &str, body: &Value) -> Self {
        Self {
            verb: reqwest::Method::POST,
            target: target.to_owned(),
            body: Some(("application/json".to_owned(), body.to_string().into_bytes())),
            headers: Vec::new(),
        }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

fn query_of(members: &Value) -> String {
    let mut pairs = Vec::new();
    for (name, value) in members.as_object().into_iter().flatten() {
        let values = match value {
            Value::Array(values) => values.clone(),
            one => vec![one.clone()],
        };
        for value in values {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            pairs.push(format!("{name}={}", escaped(&text)));
        }
    }
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}

/// Percent-encodes everything that is not plain.
pub fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

impl HttpAnswer {
    /// The code of the problem; empty for a success.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Everything that a client could tell two answers apart by, except what differs between any two requests.
    pub fn fingerprint(&self) -> String {
        // Whether a connection stays open depends on its age, not on the request.
        let volatile = ["date", "x-request-id", "connection"];
        let mut lines: Vec<String> = self
            .headers
            .iter()
            .filter(|(name, _)| {
                !volatile.contains(&name.as_str()) && !name.as_str().contains("ratelimit")
            })
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        lines.sort();
        let mut body = self.body.clone();
        let problem = self.json();
        for own in ["/error/requestId", "/error/traceId"] {
            if let Some(text) = problem.pointer(own).and_then(Value::as_str) {
                body = body.replace(text, "~");
            }
        }
        format!("{}\n{}\n\n{body}", self.status, lines.join("\n"))
    }
}

impl World {
    /// Sends a request as `who`. A busy machine may say "come back later", which is no verdict: then it comes back, as clients do.
    pub async fn http(&self, who: &Principal, request: HttpRequest) -> HttpAnswer {
        let mut answer = self.send(who, &request).await;
        for _ in 0..COME_BACK_MAX {
            if answer.status != 503 {
                break;
            }
            // sleeps because the answer says for how long
            tokio::time::sleep(Duration::from_secs(1)).await;
            answer = self.send(who, &request).await;
        }
        answer
    }

    async fn send(&self, who: &Principal, request: &HttpRequest) -> HttpAnswer {
        let target = format!("{}{}", self.platform.base_url, request.target);
        let mut builder = self.http.request(request.verb.clone(), target);
        if let Credential::Bearer { token, tenant, .. } = &who.credential {
            builder = builder.bearer_auth(token);
            if let Some(tenant) = tenant {
                builder = builder.header("x-tenant-id", tenant);
            }
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some((media_type, bytes)) = &request.body {
            builder = builder
                .header("content-type", media_type)
                .body(bytes.clone());
        }
        let response = builder
            .send()
            .await
            .expect("the gateway answers every request");
        HttpAnswer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.expect("every answer ends"),
        }
    }

    /// Calls a method straight at its service with `token` as the context; the gateway vouches for the address of the client.
    pub async fn rpc(&self, method: &Method, token: Option<&str>, message: &Value) -> RpcAnswer {
        let owner = method.policy.owner;
        let forward = Forward {
            context_token: token,
            request_id: "proof-of-isolation",
            timeout: (!method.policy.server_streaming && !method.policy.client_streaming)
                .then_some(Duration::from_secs(20)),
            ..Forward::default()
        };
        let bytes = Bytes::from(contract::encode(
            &method.descriptor.input(),
            &with_file(method, message),
        ));
        let mut client = tonic::client::Grpc::new(self.channel(owner));
        let path = method.policy.path.parse().unwrap();
        let peer = self.peer("gateway", owner);
        client
            .ready()
            .await
            .expect("the service is in this process");
        let answer = match (
            method.policy.client_streaming,
            method.policy.server_streaming,
        ) {
            (false, false) => client
                .unary(peer.forward(&forward, bytes), path, Raw)
                .await
                .map(|answer| answer.into_inner()),
            (true, _) => {
                let request: Request<_> = peer.forward(&forward, futures::stream::iter([bytes]));
                client
                    .client_streaming(request, path, Raw)
                    .await
                    .map(|answer| answer.into_inner())
            }
            (false, true) => match client
                .server_streaming(peer.forward(&forward, bytes), path, Raw)
                .await
            {
                Ok(stream) => first(stream.into_inner()).await,
                Err(status) => Err(status),
            },
        };
        match answer {
            Ok(bytes) => Ok(contract::decode(&method.descriptor.output(), &bytes)),
            Err(status) => Err(rpc::from_status(status)),
        }
    }
}

async fn first(mut stream: tonic::Streaming<Bytes>) -> Result<Bytes, Status> {
    stream.next().await.unwrap_or(Ok(Bytes::new()))
}

/// An upload carries the file in its first message.
fn with_file(method: &Method, message: &Value) -> Value {
    let mut message = message.clone();
    let file = method
        .descriptor
        .input()
        .fields()
        .find(|field| matches!(field.kind(), Kind::Message(kind) if kind.full_name() == "google.api.HttpBody"));
    if let Some(file) = file {
        message[file.json_name()] =
            json!({"contentType": "text/csv", "data": STANDARD.encode(&method.fixture.file)});
    }
    message
}

/// Messages as they are encoded.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(input.copy_to_bytes(input.remaining())))
    }
}
