//! From `main` to the exit code.

use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kernel::{Clock, Ids};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::background::Background;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::settings::{Problems, Profile, Reader};
use crate::shutdown::Shutdown;
use crate::tasks::Tasks;
use crate::telemetry::{self, TelemetrySettings};

/// How long work in flight may take to finish after the signal, unless set otherwise; Kubernetes kills after 30 seconds.
pub const DRAIN_MAX: Duration = Duration::from_secs(25);
/// What exit code a wrong configuration has (`EX_CONFIG`), so that a supervisor can tell it from a crash.
const EXIT_CONFIG: u8 = 78;
/// What exit code a second signal leads to: 128 + SIGINT.
const EXIT_IMPATIENT: i32 = 130;

/// What every long-lived part of a process shares. Cloning is cheap.
#[derive(Clone)]
pub struct Process {
    /// The name of the binary, also `service.name`.
    pub name: &'static str,
    /// Where the process runs: a laptop or for real.
    pub profile: Profile,
    /// Given when the process must end.
    pub shutdown: Shutdown,
    /// Starts tasks.
    pub tasks: Tasks,
    /// Turns for work that nobody waits for.
    pub background: Background,
    /// The time.
    pub clock: Clock,
    /// New ids.
    pub ids: Ids,
    /// Instruments.
    pub metrics: Metrics,
    /// Readiness checks.
    pub health: Health,
}

impl Process {
    /// A process without signals, telemetry and admin port: for tests and for [`run`] itself.
    pub fn new(name: &'static str, profile: Profile, clock: Clock) -> Self {
        let process = Self {
            name,
            profile,
            shutdown: Shutdown::new(),
            tasks: Tasks::new(),
            background: Background::of_this_machine(),
            ids: Ids::random(clock.clone()),
            clock,
            metrics: Metrics::new(name),
            health: Health::new(),
        };
        observe(&process);
        process
    }

    /// Gives the signal and waits for every task; `false` when some did not end within `patience`.
    pub async fn stop(&self, patience: Duration) -> bool {
        self.health.start_draining();
        self.shutdown.begin();
        self.tasks.drain(patience).await
    }
}

/// The settings that every process has beside its own.
#[derive(Clone, Debug)]
pub struct ProcessSettings {
    /// Where the admin port listens; empty means no admin port.
    pub admin_address: String,
    /// The bearer token for `/metrics`; absent means that the port itself is the protection.
    pub metrics_token: Option<SecretString>,
    /// How long to answer "not ready" before refusing work, so that load balancers notice.
    pub drain_delay: Duration,
    /// How long work in flight may take to finish after that.
    pub drain_max: Duration,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
}

impl ProcessSettings {
    /// Reads the settings; problems are kept in `reader`.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            admin_address: reader.text("TENANTRY_ADMIN_ADDRESS", "", "where health and metrics are served, for example 127.0.0.1:9900; empty: nowhere"),
            metrics_token: reader.optional_secret("TENANTRY_METRICS_TOKEN", "bearer token demanded for /metrics; unset: none"),
            drain_delay: reader.duration_ms(
                "TENANTRY_DRAIN_DELAY_MS",
                Duration::ZERO,
                Duration::ZERO..=Duration::from_secs(20),
                "how long to answer 'not ready' before refusing new work; one probe interval of the load balancer",
            ),
            drain_max: reader.duration_ms(
                "TENANTRY_DRAIN_MAX_MS",
                DRAIN_MAX,
                Duration::from_millis(1)..=Duration::from_secs(600),
                "how long work in flight may take to finish; less than what the supervisor waits before it kills",
            ),
            telemetry: TelemetrySettings::read(reader),
        }
    }
}

/// Runs a process from start to exit code.
///
/// Installs telemetry, the TLS provider and a panic hook that logs; serves the admin port; turns SIGTERM and SIGINT into
/// `process.shutdown`, a second signal into an immediate exit. Not ready until `main` calls `process.health.started()`. When `main` ends, the tasks have [`DRAIN_MAX`] from the signal to finish.
/// Exit codes: 0 ended as asked, 1 failed or did not finish in time, 78 wrong configuration, 130 second signal.
pub fn run<F, Fut>(name: &'static str, main: F) -> ExitCode
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    crate::fault::arm();
    let mut reader = Reader::from_env();
    let profile = reader.profile();
    let settings = ProcessSettings::read(&mut reader);
    if let Err(problems) = reader.finish() {
        return complain(&problems);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{name}: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let process = Process::new(name, profile, Clock::system());
    process.health.expect(1);
    let code = runtime.block_on(live(process, settings, main));
    // Blocking calls that hang must not keep a finished process alive.
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

async fn live<F, Fut>(process: Process, settings: ProcessSettings, main: F) -> ExitCode
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    // A second call in one process finds the provider installed, which is what it wants.
    let _ = rustls::crypto::ring::default_provider().install_default();
    process.metrics.install_globally();
    let telemetry = match telemetry::init(&settings.telemetry, process.name) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("{}: cannot start telemetry: {error:#}", process.name);
            return ExitCode::FAILURE;
        }
    };
    install_panic_hook();
    let code = match prepare(&process, &settings).await {
        Ok(()) => work(process, settings.drain_max, main).await,
        Err(error) => report(&error),
    };
    telemetry.flush();
    code
}

async fn prepare(process: &Process, settings: &ProcessSettings) -> anyhow::Result<()> {
    watch_signals(process, settings.drain_delay)?;
    if !settings.admin_address.is_empty() {
        let address = &settings.admin_address;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            anyhow::anyhow!("cannot listen on {address} (TENANTRY_ADMIN_ADDRESS): {error}; is it taken by another process?")
        })?;
        tracing::info!(address = %listener.local_addr()?, "admin port");
        crate::admin::serve(listener, process, settings.metrics_token.clone());
    }
    Ok(())
}

/// Runs `main` and then waits for the tasks, both within the patience that starts with the signal.
async fn work<F, Fut>(process: Process, drain_max: Duration, main: F) -> ExitCode
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let shutdown = process.shutdown.clone();
    let patience = async {
        shutdown.begun().await;
        tokio::time::sleep(drain_max).await;
    };
    let tasks = process.tasks.clone();
    let all = async {
        let outcome = main(process.clone()).await;
        process.shutdown.begin();
        // The patience around this future is shorter than the one given here.
        tasks.drain(drain_max * 2).await;
        outcome
    };
    tokio::select! {
        outcome = all => match outcome {
            Ok(()) => {
                tracing::info!("stopped");
                ExitCode::SUCCESS
            }
            Err(error) => report(&error),
        },
        () = patience => {
            let left = process.tasks.alive().join(", ");
            tracing::error!(tasks = %left, "some work did not finish within {} ms and is dropped", drain_max.as_millis());
            ExitCode::FAILURE
        }
    }
}

fn watch_signals(process: &Process, delay: Duration) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (health, shutdown) = (process.health.clone(), process.shutdown.clone());
    // Not a tracked task: it must outlive the draining, to hear the second signal.
    #[expect(
        clippy::disallowed_methods,
        reason = "the signal watcher outlives the tracked tasks on purpose"
    )]
    tokio::spawn(async move {
        let mut either = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = either().await;
        tracing::info!(signal = name, "stopping; a second signal stops at once");
        health.start_draining();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = either() => std::process::exit(EXIT_IMPATIENT),
        }
        shutdown.begin();
        either().await;
        std::process::exit(EXIT_IMPATIENT);
    });
    Ok(())
}

fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(problems) = error.downcast_ref::<Problems>() {
        return complain(problems);
    }
    tracing::error!("stopped by a failure: {error:#}");
    ExitCode::FAILURE
}

fn complain(problems: &Problems) -> ExitCode {
    eprintln!("{problems}");
    ExitCode::from(EXIT_CONFIG)
}

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Counts panics and logs them as one line with the fields of the request, in place of the standard multi-line text.
fn install_panic_hook() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            let location = info.location().map(ToString::to_string).unwrap_or_default();
            let text = info.payload_as_str().unwrap_or("no message");
            tracing::error!(location, "panic: {text}");
        }));
    });
}

/// Registers what a process measures about itself.
fn observe(process: &Process) {
    let meter = process.metrics.meter("runtime");
    meter
        .u64_observable_counter("process.panics")
        .with_callback(|o| o.observe(PANICS.load(Ordering::Relaxed), &[]))
        .build();
    let tasks = process.tasks.clone();
    meter
        .u64_observable_gauge("process.tasks")
        .with_callback(move |o| o.observe(tasks.alive().len() as u64, &[]))
        .build();
    meter
        .u64_observable_gauge("process.memory.resident")
        .with_unit("By")
        .with_callback(|o| o.observe(resident_bytes().unwrap_or(0), &[]))
        .build();
    meter
        .f64_observable_counter("process.cpu.time")
        .with_unit("s")
        .with_callback(|o| o.observe(processor_seconds().unwrap_or(0.0), &[]))
        .build();
}

/// Processor time of all threads, user and system, in the hundredths of a second in which Linux reports it (proc(5), USER_HZ).
fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold anything; what follows it are numbers.
    let (_, numbers) = text.rsplit_once(')')?;
    let mut times = numbers.split_whitespace().skip(11).take(2);
    let mut next = || times.next()?.parse::<u32>().ok();
    Some(f64::from(next()? + next()?) / 100.0)
}

/// Resident memory from the kernel's own account; `None` where there is no `/proc`.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
