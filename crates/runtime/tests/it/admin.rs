//! The admin port.

use std::time::Duration;

use kernel::Clock;
use runtime::settings::Profile;
use runtime::{Process, admin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Port(std::net::SocketAddr);

impl Port {
    async fn open(process: &Process, token: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        admin::serve(listener, process, token.map(Into::into));
        Self(address)
    }

    /// The status and the body.
    async fn get(&self, path: &str, header: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.0).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

fn process() -> Process {
    Process::new("demo", Profile::Dev, Clock::system())
}

#[tokio::test]
async fn readiness_lists_what_is_down_and_liveness_does_not_care() {
    let process = process();
    process.health.register("postgres", || async {
        Err("connection refused".to_owned())
    });
    let port = Port::open(&process, None).await;
    let (status, body) = port.get("/health/ready", "").await;
    assert_eq!(
        (status, body.as_str()),
        (
            503,
            r#"{"status":"down","down":[{"name":"postgres","reason":"connection refused"}]}"#
        )
    );
    assert_eq!(port.get("/health/live", "").await.0, 200);
    assert_eq!(port.get("/health", "").await.0, 404);
    process.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_ready_process_says_so_until_it_drains() {
    let process = process();
    let port = Port::open(&process, None).await;
    assert_eq!(
        port.get("/health/ready", "").await,
        (200, r#"{"status":"ready","down":[]}"#.to_owned())
    );
    process.health.start_draining();
    let (status, body) = port.get("/health/ready", "").await;
    assert_eq!((status, body.contains("draining")), (503, true));
    assert!(process.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn metrics_demand_the_token_when_there_is_one() {
    let process = process();
    process
        .metrics
        .meter("demo")
        .u64_counter("demo.things")
        .build()
        .add(1, &[]);
    let port = Port::open(&process, Some("q8ZkP2xLw0")).await;
    for header in [
        "",
        "Authorization: Bearer q8ZkP2xLw1\r\n",
        "Authorization: Bearer q8ZkP2xLw\r\n",
        "Authorization: q8ZkP2xLw0\r\n",
    ] {
        assert_eq!(port.get("/metrics", header).await.0, 401, "{header}");
    }
    let (status, body) = port
        .get("/metrics", "Authorization: Bearer q8ZkP2xLw0\r\n")
        .await;
    assert_eq!((status, body.contains("demo_things_total")), (200, true));
    assert_eq!(
        port.get("/health/ready", "").await.0,
        200,
        "probes carry no token"
    );
    process.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_process_tells_its_memory_processor_time_and_tasks() {
    let process = process();
    let port = Port::open(&process, None).await;
    let (_, body) = port.get("/metrics", "").await;
    let figure = |name: &str| -> f64 {
        let line = body.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name} is missing in {body}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(figure("process_memory_resident_bytes") > 1_000_000.0);
    assert!(figure("process_cpu_time_seconds_total") >= 0.0);
    process.stop(Duration::from_secs(5)).await;
}
