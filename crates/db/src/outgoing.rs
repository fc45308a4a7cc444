//! Events and audit entries that wait for the commit of what they tell about.

use std::fmt;

use kernel::{RequestContext, Result, TenantId};
use proto::Event;
use proto::tenantry::api::v1::AuditRecorded;
use serde_json::Value;
use uuid::Uuid;

use crate::envelope::{Origin, encode};
use crate::handle::Db;

/// What the audit log keeps about one action. It carries ids, never personal data.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// The tool-action key, for example `records.create`.
    pub action: &'static str,
    /// For example `record`.
    pub entity_type: &'static str,
    /// The id of what was acted on.
    pub entity_id: String,
    /// A JSON object of small facts, or null.
    pub metadata: Value,
}

impl AuditEntry {
    /// An entry without further facts.
    pub fn new(
        action: &'static str,
        entity_type: &'static str,
        entity_id: impl fmt::Display,
    ) -> Self {
        Self {
            action,
            entity_type,
            entity_id: entity_id.to_string(),
            metadata: Value::Null,
        }
    }

    /// Adds facts: a JSON object.
    #[must_use]
    pub fn with(mut self, metadata: Value) -> Self {
        self.metadata = metadata;
        self
    }
}

/// One row of the outbox to be.
struct Outgoing {
    id: Uuid,
    event_type: &'static str,
    subject: String,
    envelope: String,
}

/// What was noted so far, in the order of the calls.
#[derive(Default)]
pub(crate) struct Noted(Vec<Outgoing>);

/// Whose transaction notes it.
#[derive(Clone, Copy)]
pub(crate) struct Author<'a> {
    pub(crate) db: &'a Db,
    pub(crate) ctx: &'a RequestContext,
    pub(crate) tenant_id: TenantId,
}

/// The rows by column, as `unnest` takes them.
pub(crate) struct Columns {
    pub(crate) ids: Vec<Uuid>,
    pub(crate) types: Vec<&'static str>,
    pub(crate) subjects: Vec<String>,
    pub(crate) envelopes: Vec<String>,
}

impl Noted {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn event<E: Event>(
        &mut self,
        author: Author<'_>,
        subject: String,
        event: &E,
    ) -> Result<()> {
        let inner = &author.db.0;
        let origin = Origin {
            ctx: author.ctx,
            service: &inner.schema,
            tenant_id: author.tenant_id,
            id: inner.ids.next(),
            now: inner.clock.now(),
        };
        let envelope = encode(&origin, &subject, event)?;
        self.0.push(Outgoing {
            id: origin.id,
            event_type: E::TYPE,
            subject,
            envelope,
        });
        Ok(())
    }

    pub(crate) fn audit(&mut self, author: Author<'_>, entry: AuditEntry) -> Result<()> {
        let principal = author.ctx.principal();
        let client = author.ctx.client();
        let metadata = match &entry.metadata {
            Value::Null => None,
            facts => Some(
                proto::Document::from_value(facts)
                    .map_err(|e| kernel::Error::internal(e.to_string()))?,
            ),
        };
        let recorded = AuditRecorded {
            actor_type: principal.kind().to_owned(),
            actor_id: principal.id().map(|id| id.to_string()).unwrap_or_default(),
            action: entry.action.to_owned(),
            entity_type: entry.entity_type.to_owned(),
            entity_id: entry.entity_id.clone(),
            metadata,
            request_id: author.ctx.request_id().to_owned(),
            trace_id: author.ctx.trace_id().unwrap_or_default().to_owned(),
            ip: client.ip.map(|ip| ip.to_string()).unwrap_or_default(),
            user_agent: client.user_agent.clone(),
        };
        self.event(author, entry.entity_id, &recorded)
    }

    pub(crate) fn into_columns(self) -> Columns {
        let mut columns = Columns {
            ids: Vec::with_capacity(self.0.len()),
            types: Vec::with_capacity(self.0.len()),
            subjects: Vec::with_capacity(self.0.len()),
            envelopes: Vec::with_capacity(self.0.len()),
        };
        for outgoing in self.0 {
            columns.ids.push(outgoing.id);
            columns.types.push(outgoing.event_type);
            columns.subjects.push(outgoing.subject);
            columns.envelopes.push(outgoing.envelope);
        }
        columns
    }
}
