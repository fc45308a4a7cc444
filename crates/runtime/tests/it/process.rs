//! A whole process: started, signalled and watched from outside. The process is this test binary once more.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use runtime::settings::Reader;
use serde_json::Value;

/// Not a test by itself: what the started process does. Without a scenario it does nothing.
#[test]
fn scenario() {
    let mut reader = Reader::from_env();
    let name = reader.text("SCENARIO", "", "what to play");
    if name.is_empty() {
        return;
    }
    let code = runtime::run("demo", |process| async move {
        match name.as_str() {
            "work" | "hang" => {
                let (shutdown, hangs) = (process.shutdown.clone(), name == "hang");
                process.tasks.spawn("demo.work", async move {
                    shutdown.begun().await;
                    if hangs {
                        std::future::pending::<()>().await;
                    }
                    // sleeps because it stands for work that the drain must wait for
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    tracing::info!("work is finished");
                });
                tracing::info!("ready");
                process.shutdown.begun().await;
                Ok(())
            }
            "trace" => {
                let span =
                    tracing::info_span!("checkout", email = "ann@example.com", orderId = "o-1");
                span.in_scope(|| tracing::info!("paid by ann@example.com"));
                Ok(())
            }
            "panic" => {
                let task = process
                    .tasks
                    .spawn("demo.bad", async { panic!("for ann@example.com") });
                assert!(task.await.is_err());
                Ok(())
            }
            "settings" => {
                let mut reader = Reader::from_map::<String, String>([]);
                reader.required("DEMO_A", "a");
                reader.required("DEMO_B", "b");
                Ok(reader.finish()?)
            }
            _ => anyhow::bail!("no such scenario"),
        }
    });
    let known = [(ExitCode::SUCCESS, 0), (ExitCode::from(78), 78)];
    let code = known
        .iter()
        .find(|(known, _)| *known == code)
        .map_or(1, |(_, number)| *number);
    std::process::exit(code);
}

pub fn start(scenario: &str, settings: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["process::scenario", "--exact", "--nocapture"])
        .env("SCENARIO", scenario)
        .env("TENANTRY_PROFILE", "dev")
        .envs(settings.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let done = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(done.success());
}

/// Reads log lines until one has this message; tells all that were read.
fn read_until(child: &mut Child, message: &str) -> Vec<Value> {
    let out = child.stdout.as_mut().unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(out).lines() {
        // The test harness prints lines of its own.
        let Ok(line) = serde_json::from_str::<Value>(&line.unwrap()) else {
            continue;
        };
        let found = line["message"] == message;
        lines.push(line);
        if found {
            return lines;
        }
    }
    panic!("the process ended without saying {message:?}: {lines:?}");
}

pub fn finish(mut child: Child) -> (Option<i32>, String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    (child.wait().unwrap().code(), out, err)
}

#[test]
fn a_signal_lets_work_in_flight_finish_and_ends_well() {
    for name in ["-TERM", "-INT"] {
        let mut child = start("work", &[]);
        read_until(&mut child, "ready");
        signal(&child, name);
        let (code, out, _) = finish(child);
        assert_eq!(code, Some(0), "{out}");
        assert!(
            out.contains("work is finished") && out.contains("\"stopped\""),
            "{out}"
        );
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut child = start("hang", &[]);
    read_until(&mut child, "ready");
    signal(&child, "-TERM");
    read_until(&mut child, "stopping; a second signal stops at once");
    signal(&child, "-TERM");
    assert_eq!(finish(child).0, Some(130));
}

#[test]
fn work_that_never_finishes_is_named_and_dropped() {
    let mut child = start("hang", &[("TENANTRY_DRAIN_MAX_MS", "200")]);
    read_until(&mut child, "ready");
    signal(&child, "-TERM");
    let (code, out, _) = finish(child);
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains("demo.work") && out.contains("did not finish within 200 ms"),
        "{out}"
    );
}

#[test]
fn a_dead_collector_neither_delays_work_nor_the_end() {
    let mut child = start(
        "work",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
            ("TENANTRY_TRACE_RATIO", "1"),
        ],
    );
    read_until(&mut child, "ready");
    signal(&child, "-TERM");
    let (code, out, _) = finish(child);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("work is finished"), "{out}");
}

#[test]
fn a_panic_is_one_line_of_the_log_without_personal_data() {
    let (code, out, _) = finish(start("panic", &[]));
    assert_eq!(code, Some(0), "{out}");
    let panics: Vec<&str> = out
        .lines()
        .filter(|line| line.contains("\"message\":\"panic: "))
        .collect();
    assert_eq!(panics.len(), 1, "{out}");
    assert!(
        panics[0].contains("for ***") && panics[0].contains("process.rs"),
        "{out}"
    );
    assert!(out.contains("the task demo.bad panicked"), "{out}");
}

#[test]
fn wrong_settings_end_with_code_78_and_all_of_them_told() {
    let (code, _, err) = finish(start("settings", &[]));
    assert_eq!(code, Some(78), "{err}");
    assert!(err.contains("DEMO_A") && err.contains("DEMO_B"), "{err}");
    let (code, _, err) = finish(start(
        "work",
        &[
            ("TENANTRY_LOG", "a=b=c"),
            ("TENANTRY_LOG_FORMAT", "xml"),
            ("TENANTRY_TRACE_RATIO", "2"),
        ],
    ));
    assert_eq!(code, Some(78), "{err}");
    assert!(
        err.contains("TENANTRY_LOG ")
            && err.contains("TENANTRY_LOG_FORMAT")
            && err.contains("TENANTRY_TRACE_RATIO"),
        "{err}"
    );
}

#[test]
fn a_taken_admin_port_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, out, _) = finish(start("work", &[("TENANTRY_ADMIN_ADDRESS", &address)]));
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains(&address) && out.contains("TENANTRY_ADMIN_ADDRESS"),
        "{out}"
    );
}
