//! Listens to the changes of access that auth streams.

use std::sync::Arc;
use std::time::Duration;

use kernel::{RequestContext, TenantId};
use proto::auth::v1::access_service_client::AccessServiceClient;
use proto::auth::v1::{WatchAccessRequest, WatchAccessResponse};
use tonic::Streaming;

use super::Authn;
use crate::upstream::Upstream;

/// The pause before the next try; shorter than the silence that makes the cache useless.
const PAUSE: Duration = Duration::from_millis(200);

/// Follows the stream for as long as the process lives, connecting again whenever it breaks.
pub async fn follow(authn: Arc<Authn>, auth: Upstream) {
    let mut told = false;
    loop {
        match open(&auth).await {
            Ok(stream) => {
                told = false;
                listen(&authn, stream).await;
                tracing::warn!("the stream of access changes broke; connecting again");
            }
            // Once per outage is enough: the silence shows in readiness.
            Err(status) if !told => {
                told = true;
                let error = rpc::from_peer(status).chain();
                tracing::warn!(
                    error,
                    "access changes cannot be followed; every request asks auth until they can"
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn open(auth: &Upstream) -> Result<Streaming<WatchAccessResponse>, tonic::Status> {
    let ctx = RequestContext::system("gateway", TenantId::PLATFORM).build();
    // Nothing is asked of the past, because everything remembered is forgotten once the stream stands.
    let request = auth
        .peer
        .stream_request(&ctx, WatchAccessRequest { after_sequence: 0 });
    Ok(AccessServiceClient::new(auth.channel.clone())
        .watch_access(request)
        .await?
        .into_inner())
}

async fn listen(authn: &Authn, mut stream: Streaming<WatchAccessResponse>) {
    let mut first = true;
    // A stream that stands but says nothing is as good as none.
    while let Ok(Ok(Some(message))) =
        tokio::time::timeout(authn.pulse.silence_max, stream.message()).await
    {
        if std::mem::take(&mut first) {
            authn.forget_all();
        }
        if let Some(change) = message.change {
            authn.apply(change);
        }
        authn.heard();
    }
}
