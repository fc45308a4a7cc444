//! The state of an import, told whenever it changes.

use std::time::Duration;

use futures::Stream;
use futures::stream::try_unfold;
use kernel::{RequestContext, Result};
use proto::niche::v1 as pb;

use super::{Import, get_import, to_proto};
use crate::App;

/// How often the row is read: a batch takes about as long, and one read costs PostgreSQL about 30 us.
///
/// Reading rather than `LISTEN`: no connection is held, nothing is lost when one breaks, and it sees what workers in other processes do.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// A longer stream ends in order and the client opens the next one, so that a session that ended does not watch on.
const WATCH_MAX: Duration = Duration::from_secs(15 * 60);

/// Answers the state at once and then each change, until the import has ended. `NOT_FOUND` like [`get_import`].
pub async fn watch_import(
    app: &App,
    ctx: &RequestContext,
    id: &str,
) -> Result<impl Stream<Item = Result<pb::WatchImportResponse>> + Send + use<>> {
    let first = get_import(app, ctx, id).await?;
    let until = app.clock.instant() + WATCH_MAX;
    let watch = Watch {
        app: app.clone(),
        ctx: ctx.clone(),
        id: id.to_owned(),
        next: Some(first),
        told: None,
        is_ended: false,
    };
    Ok(try_unfold(watch, move |mut watch| async move {
        loop {
            if let Some(answer) = watch.next_change() {
                return Ok(Some((answer, watch)));
            }
            if watch.is_ended || watch.app.clock.instant() >= until {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            watch.next = Some(get_import(&watch.app, &watch.ctx, &watch.id).await?);
        }
    }))
}

struct Watch {
    app: App,
    ctx: RequestContext,
    id: String,
    next: Option<Import>,
    told: Option<pb::Import>,
    is_ended: bool,
}

impl Watch {
    /// What was read last, if a client sees a difference in it: leases come and go unseen.
    fn next_change(&mut self) -> Option<pb::WatchImportResponse> {
        let import = self.next.take()?;
        self.is_ended = import.is_ended();
        let state = to_proto(&import, self.ctx.locale());
        if self.told.as_ref() == Some(&state) {
            return None;
        }
        self.told = Some(state.clone());
        Some(pb::WatchImportResponse { data: Some(state) })
    }
}
