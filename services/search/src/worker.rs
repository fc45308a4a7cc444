//! One handler per consumed event. All are idempotent by content, so none needs the inbox.

use events::Delivery;
use kernel::{Error, Result};
use proto::Event as _;
use proto::niche::v1::{RecordCreated, RecordDeleted, RecordUpdated, RecordsImported};
use proto::search::v1::DocumentsIndexed;
use uuid::Uuid;

use crate::{App, documents, vectors};

/// Records in one transaction, of which niche answers 500 at most: about as much work as another batch in the background, with which it takes turns.
const RECORDS_AT_ONCE: usize = 100;

/// Brings the index in step with what an event names.
pub async fn records_changed(app: App, delivery: Delivery) -> Result<()> {
    let ids = match delivery.event_type() {
        RecordCreated::TYPE => vec![delivery.payload::<RecordCreated>()?.record_id],
        RecordUpdated::TYPE => vec![delivery.payload::<RecordUpdated>()?.record_id],
        RecordDeleted::TYPE => vec![delivery.payload::<RecordDeleted>()?.record_id],
        _ => delivery.payload::<RecordsImported>()?.record_ids,
    };
    for part in parse(&ids)?.chunks(RECORDS_AT_ONCE) {
        documents::index_records(&app, &delivery.ctx, part).await?;
    }
    Ok(())
}

/// Embeds what was indexed.
pub async fn documents_indexed(app: App, delivery: Delivery) -> Result<()> {
    let ids = delivery.payload::<DocumentsIndexed>()?.document_ids;
    vectors::embed_documents(&app, &delivery.ctx, &parse(&ids)?).await
}

fn parse(ids: &[String]) -> Result<Vec<Uuid>> {
    let broken = |error| {
        Error::precondition(
            "search.event_id_invalid",
            "an event names a record whose id is not a UUID",
        )
        .caused_by(error)
    };
    ids.iter()
        .map(|id| Uuid::parse_str(id).map_err(broken))
        .collect()
}
