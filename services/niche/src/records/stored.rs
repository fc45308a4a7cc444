//! Records on their way from the database to an answer: read into the message at once, without a JSON value in between.

use chrono::{DateTime, Utc};
use kernel::{RequestContext, Result, SortOrder};
use proto::Document;
use proto::niche::v1 as pb;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row as _, ValueRef as _};
use uuid::Uuid;

use super::{Place, RecordFilter};
use crate::App;
use crate::grpc::time_to_proto;

/// A record as it is stored, without the names that its reader has asked for it by.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) id: Uuid,
    data: Document,
    version: i32,
    pub(super) created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// The columns of a [`Stored`], in its order.
macro_rules! columns {
    () => {
        "r.id, r.data, r.version, r.created_at, r.updated_at"
    };
}
pub(super) use columns;

/// By position: a page of records looks up its columns' names a hundred times else.
impl FromRow<'_, PgRow> for Stored {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let Json(data) = row.try_get(1)?;
        Ok(Self {
            id: row.try_get(0)?,
            data,
            version: row.try_get(2)?,
            created_at: row.try_get(3)?,
            updated_at: row.try_get(4)?,
        })
    }
}

impl Stored {
    /// As clients see it, in the niche and entity in which it was found.
    pub(super) fn into_proto(self, niche: &str, entity: &str) -> pb::Record {
        pb::Record {
            id: self.id.to_string(),
            niche: niche.to_owned(),
            entity: entity.to_owned(),
            data: Some(self.data),
            version: self.version,
            created_at: Some(time_to_proto(self.created_at)),
            updated_at: Some(time_to_proto(self.updated_at)),
        }
    }
}

/// How one record is read: id, niche, entity, tenant.
pub const FIND: &str = concat!(
    "select ",
    columns!(),
    " from niche.records r where r.id = $1 and r.niche = $2 and r.entity = $3 and r.tenant_id = $4"
);

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

/// The row of the niche has no id but names; that of a record has an id and no names.
enum Row {
    Niche(String, String, i32),
    Record(Stored),
}

impl FromRow<'_, PgRow> for Row {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        if row.try_get_raw(0)?.is_null() {
            return Ok(Self::Niche(
                row.try_get(5)?,
                row.try_get(6)?,
                row.try_get(2)?,
            ));
        }
        Stored::from_row(row).map(Self::Record)
    }
}

macro_rules! list {
    ($after:literal, $direction:literal) => {
        concat!(
            "select null::uuid as id, null::jsonb as data, overlay_revision as version, null::timestamptz as created_at, null::timestamptz as updated_at, ",
            "kit, kit_version from niche.niches where tenant_id = $4 and key = $1 and status = 'active' ",
            "union all (select ",
            columns!(),
            // The version is what the index of lists is asked for by, see its migration.
            ", null::text, null::text from niche.records r where r.tenant_id = $4 and r.niche = $1 and r.entity = $2 and r.version > 0 ",
            $after,
            " order by r.created_at ",
            $direction,
            ", r.id ",
            $direction,
            " limit $3)"
        )
    };
}

/// How the first page is read, newest first: niche, entity, limit, tenant.
pub const LIST: &str = list!("", "desc");

/// Reads a page without filters, together with its niche, in one round trip.
pub(super) async fn list(
    app: &App,
    ctx: &RequestContext,
    filter: &RecordFilter,
    (after, limit): (Option<(DateTime<Utc>, Uuid)>, i64),
) -> Result<Listed> {
    let is_descending = filter.order == SortOrder::Descending;
    let sql = match (after.is_some(), is_descending) {
        (false, true) => LIST,
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
        match row {
            Row::Record(record) => rows.push(record),
            Row::Niche(kit, version, revision) => niche = Some((kit, version, revision)),
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
