//! What a line of the log looks like and what never stands in it.

use std::sync::{Arc, Mutex};

use runtime::telemetry::{Format, Sink, subscriber};
use serde_json::Value;

fn logged(format: Format, work: impl FnOnce()) -> String {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&bytes);
    let sink: Sink = Arc::new(move |line: &[u8]| keep.lock().unwrap().extend_from_slice(line));
    tracing::subscriber::with_default(subscriber("demo", format, "info", sink), work);
    let text = bytes.lock().unwrap().clone();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_line_is_flat_json_with_the_fields_of_its_spans() {
    let text = logged(Format::Json, || {
        let request = tracing::info_span!(
            "request",
            requestId = "r-1",
            tenantId = tracing::field::Empty,
            attempt = 1
        );
        request.record("tenantId", "t-1");
        let _outer = request.enter();
        let _inner = tracing::info_span!("inner", attempt = 2).entered();
        tracing::warn!(
            statusCode = 200,
            latency_ms = 1.5,
            error.code = "CONFLICT",
            is_slow = true,
            "done: {}",
            "x"
        );
    });
    let line: Value = serde_json::from_str(text.trim_end()).unwrap();
    let expected = serde_json::json!({
        "level": "warn", "message": "done: x", "service": "demo", "target": "it::logs", "statusCode": 200, "latency_ms": 1.5,
        "error.code": "CONFLICT", "is_slow": true, "requestId": "r-1", "tenantId": "t-1", "attempt": 2,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&line[key], value, "{key}");
    }
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(line.as_object().unwrap().len(), 12, "{line}");
}

#[test]
fn a_message_cannot_pose_as_two_lines_and_a_field_cannot_pose_as_the_level() {
    let evil = "a\n{\"level\":\"error\"}\x1b[31m";
    let text = logged(Format::Json, || {
        tracing::info!(level = "error", input = evil, "got {evil}")
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&line["level"], &line["input"]),
        (&"info".into(), &evil.into())
    );
    let text = logged(Format::Text, || tracing::info!(input = evil, "got {evil}"));
    assert_eq!(
        (text.lines().count(), text.contains('\x1b')),
        (1, false),
        "{text}"
    );
}

#[test]
fn a_careless_line_does_not_leak() {
    #[derive(Debug)]
    struct Login<'a>(#[expect(dead_code, reason = "it is there to be printed")] &'a str);
    for format in [Format::Json, Format::Text] {
        let text = logged(format, || {
            let _span = tracing::info_span!(
                "s",
                ownerEmail = "ann@example.com",
                password = "hunter2",
                authorization = "Bearer abc"
            )
            .entered();
            tracing::info!(
                email = "ann@example.com",
                refresh_token = "tok-1",
                user.phone = "+55 11 99999-0000",
                "for ann@example.com"
            );
            tracing::info!(request = ?Login("ann@example.com"), error = "cpf 123.456.789-09 is taken", "header: Bearer tok-2");
            tracing::info!(
                input = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UifQ.c2ln",
                "kept"
            );
        });
        assert!(text.contains("kept") && text.contains("***"), "{text}");
        for leaked in [
            "ann@example.com",
            "hunter2",
            "Bearer abc",
            "tok-1",
            "tok-2",
            "99999",
            "123.456.789-09",
            "eyJ",
            "password",
            "refresh_token",
        ] {
            assert!(!text.contains(leaked), "{leaked}: {text}");
        }
    }
}
