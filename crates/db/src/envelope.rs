//! The CloudEvents 1.0 envelope in which every event travels.

use chrono::{DateTime, Utc};
use kernel::{Error, RequestContext, Result, TenantId};
use proto::Event;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

/// Bigger payloads go by reference: a broker is not a file store, and every consumer pays for each byte.
pub const ENVELOPE_BYTES_MAX: usize = 64 * 1024;

/// An event with what a consumer needs to know about it (CloudEvents 1.0, JSON format).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Always `1.0`.
    pub specversion: String,
    /// UUIDv7; what consumers deduplicate by.
    pub id: Uuid,
    /// For example `user.created`; also the routing key.
    #[serde(rename = "type")]
    pub event_type: String,
    /// `/<service>`.
    pub source: String,
    /// The id of what the event is about; events of one subject keep their order.
    pub subject: String,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// The tenant, or the nil UUID for the platform's own events.
    pub tenantid: Uuid,
    /// The W3C trace context of the request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The payload's message and version, for example `auth.v1.UserCreated/v1`.
    pub dataschema: String,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// The payload as proto3 JSON.
    pub data: Value,
}

/// What the transaction knows about the events that it emits.
pub(crate) struct Origin<'a> {
    pub(crate) ctx: &'a RequestContext,
    pub(crate) service: &'a str,
    pub(crate) tenant_id: TenantId,
    pub(crate) id: Uuid,
    pub(crate) now: DateTime<Utc>,
}

/// The same with a payload that is text already: an event is written far more often than anybody looks into it here.
#[derive(Serialize)]
struct Written<'a> {
    specversion: &'static str,
    id: Uuid,
    #[serde(rename = "type")]
    event_type: &'static str,
    source: &'a str,
    subject: &'a str,
    time: DateTime<Utc>,
    tenantid: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    dataschema: &'a str,
    datacontenttype: &'static str,
    data: &'a RawValue,
}

/// The envelope of an event as JSON text.
pub(crate) fn encode<E: Event>(origin: &Origin<'_>, subject: &str, event: &E) -> Result<String> {
    let data = String::from_utf8(proto::json::to_bytes(event)).map_err(Error::internal)?;
    let data = RawValue::from_string(data).map_err(Error::internal)?;
    let written = Written {
        specversion: "1.0",
        id: origin.id,
        event_type: E::TYPE,
        source: &format!("/{}", origin.service),
        subject,
        time: origin.now,
        tenantid: origin.tenant_id.uuid(),
        traceparent: origin.ctx.traceparent(),
        dataschema: &format!("{}/v{}", E::full_name(), E::VERSION),
        datacontenttype: "application/json",
        data: &data,
    };
    let text = serde_json::to_string(&written).map_err(Error::internal)?;
    if text.len() > ENVELOPE_BYTES_MAX {
        let problem = format!(
            "event {} has {} bytes, more than {ENVELOPE_BYTES_MAX}: send a reference instead",
            E::TYPE,
            text.len()
        );
        return Err(Error::internal(problem));
    }
    Ok(text)
}
