//! The public port: threads, connections, and their orderly end.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Protocol, Request};
use actix_server::Server;
use actix_service::{ServiceFactoryExt as _, fn_service};
use tokio::net::TcpStream;

use crate::conn::{Conn, Pulse};
use crate::handle::{Shared, Worker};
use crate::upstream::Links;

/// How long a connection may take to close.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// How long answers under way may take once the process ends; the process as a whole has a little more.
const DRAIN_SECONDS: u64 = 20;
/// Open connections of one thread; an idle one takes about 10 KiB.
const CONNECTIONS_MAX: usize = 25_000;

/// Serves until the process ends and the answers under way are finished.
pub async fn serve(
    shared: Arc<Shared>,
    links: Arc<Links>,
    listener: TcpListener,
) -> anyhow::Result<()> {
    let process = shared.process.clone();
    let builder = Server::build();
    let builder = match shared.config.workers {
        0 => builder,
        workers => builder.workers(workers),
    };
    let builder = builder
        .disable_signals()
        .shutdown_timeout(DRAIN_SECONDS)
        .max_concurrent_connections(CONNECTIONS_MAX);
    let draining = builder.graceful_shutdown_signal();
    let server = builder
        .listen("gateway", listener, move || {
            // This runs on the thread that will serve, so its connections to the services live there too.
            let worker = Rc::new(Worker {
                shared: Arc::clone(&shared),
                upstreams: links.open(),
            });
            let (process, draining) = (shared.process.clone(), draining.clone());
            let patience = shared.config.keep_alive + shared.config.head_timeout;
            let http = HttpService::<Conn, _, _>::build()
                .keep_alive(KeepAlive::Timeout(shared.config.keep_alive))
                .client_request_timeout(shared.config.head_timeout)
                .client_disconnect_timeout(CLOSE_MAX)
                // A client that closes its half is gone: what it asked for is cancelled all the way down.
                .h1_allow_half_closed(false)
                .graceful_shutdown_signal(move || {
                    let draining = draining.clone();
                    async move { draining.notified().await }
                })
                .on_connect_ext(|conn: &Conn, extensions| {
                    extensions.insert(conn.pulse());
                })
                .finish(move |request: Request| {
                    let worker = Rc::clone(&worker);
                    let handling = request.conn_data::<Rc<Pulse>>().map(Pulse::handle);
                    async move {
                        let response = worker.handle(request).await;
                        drop(handling);
                        Ok::<_, std::convert::Infallible>(response)
                    }
                });
            fn_service(move |socket: TcpStream| {
                let (peer, ids) = (socket.peer_addr().ok(), process.ids.clone());
                let clock = process.clock.clone();
                // Answers are written whole; waiting for more to send would only delay them.
                let _ = socket.set_nodelay(true);
                async move {
                    Ok::<_, DispatchError>((
                        Conn::new(socket, ids, clock, patience),
                        Protocol::Http1,
                        peer,
                    ))
                }
            })
            .and_then(http)
        })?
        .run();
    let handle = server.handle();
    process.tasks.spawn("gateway.drain", {
        let shutdown = process.shutdown.clone();
        async move {
            shutdown.begun().await;
            handle.stop(true).await;
        }
    });
    server.await?;
    Ok(())
}
