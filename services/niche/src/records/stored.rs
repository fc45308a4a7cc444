//! Records on their way from the database to an answer: read into the message at once, without a JSON value in between.

use chrono::{DateTime, Utc};
use kernel::{Error, RequestContext, Result, SortOrder};
use proto::Document;
use proto::niche::v1 as pb;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Place, RecordFilter};
use crate::App;
use crate::grpc::time_to_proto;

/// A record as it is stored.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Stored {
    pub(super) id: Uuid,
    niche: String,
    entity: String,
    data: Json<Document>,
    version: i32,
    pub(super) created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Stored {
    pub(super) fn into_proto(self) -> pb::Record {
        pb::Record {
            id: self.id.to_string(),
            niche: self.niche,
            entity: self.entity,
            data: Some(self.data.0),
            version: self.version,
            created_at: Some(time_to_proto(self.created_at)),
            updated_at: Some(time_to_proto(self.updated_at)),
        }
    }
}

/// How one record is read: id, niche, entity, tenant.
pub const FIND: &str = "select id, niche, entity, data, version, created_at, updated_at from niche.records where id = $1 and niche = $2 and entity = $3 and tenant_id = $4";

/// Reads one record, in one round trip.
pub(super) async fn find(
    app: &App,
    ctx: &RequestContext,
    place: Place<'_>,
) -> Result<Option<Stored>> {
    let read = app.db.read(ctx, FIND).bind(place.id);
    let read = read.bind(place.niche.to_owned());
    let read = read.bind(place.entity.to_owned());
    read.bind(ctx.require_tenant()?.uuid()).optional().await
}

/// The tenant's niche, and a page of the records in it.
pub(super) struct Listed {
    /// Kit, version and overlay revision; nothing when the tenant has no such active niche.
    pub(super) niche: Option<(String, String, i32)>,
    pub(super) rows: Vec<Stored>,
}

/// A row of either kind: that of the niche has no id.
#[derive(sqlx::FromRow)]
struct Row {
    id: Option<Uuid>,
    niche: String,
    entity: String,
    data: Option<Json<Document>>,
    version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

macro_rules! list {
    ($after:literal, $direction:literal) => {
        concat!(
            "select null::uuid as id, kit as niche, kit_version as entity, null::jsonb as data, overlay_revision as version, ",
            "activated_at as created_at, activated_at as updated_at from niche.niches where tenant_id = $4 and key = $1 and status = 'active' ",
            "union all (select r.id, r.niche, r.entity, r.data, r.version, r.created_at, r.updated_at from niche.records r ",
            "where r.tenant_id = $4 and r.niche = $1 and r.entity = $2 ",
            $after,
            " order by r.created_at ",
            $direction,
            ", r.id ",
            $direction,
            " limit $3)"
        )
    };
}

/// Reads a page without filters, together with its niche, in one round trip.
pub(super) async fn list(
    app: &App,
    ctx: &RequestContext,
    filter: &RecordFilter,
    (after, limit): (Option<(DateTime<Utc>, Uuid)>, i64),
) -> Result<Listed> {
    let is_descending = filter.order == SortOrder::Descending;
    let sql = match (after.is_some(), is_descending) {
        (false, true) => list!("", "desc"),
        (false, false) => list!("", "asc"),
        (true, true) => list!("and (r.created_at, r.id) < ($5, $6)", "desc"),
        (true, false) => list!("and (r.created_at, r.id) > ($5, $6)", "asc"),
    };
    let read = app.db.read(ctx, sql).bind(filter.niche.clone());
    let mut read = read.bind(filter.entity.clone()).bind(limit);
    read = read.bind(ctx.require_tenant()?.uuid());
    if let Some((created_at, id)) = after {
        read = read.bind(created_at).bind(id);
    }
    let (mut niche, mut rows) = (None, Vec::new());
    for row in read.all::<Row>().await? {
        match (row.id, row.data) {
            (Some(id), Some(data)) => rows.push(Stored {
                id,
                niche: row.niche,
                entity: row.entity,
                data,
                version: row.version,
                created_at: row.created_at,
                updated_at: row.updated_at,
            }),
            (None, None) => niche = Some((row.niche, row.entity, row.version)),
            _ => return Err(Error::internal("a row is neither a record nor a niche")),
        }
    }
    // What the statement around this one keeps of the order is not promised; rows that are sorted already cost nothing.
    rows.sort_by(|a, b| {
        let order = (a.created_at, a.id).cmp(&(b.created_at, b.id));
        if is_descending {
            order.reverse()
        } else {
            order
        }
    });
    Ok(Listed { niche, rows })
}
