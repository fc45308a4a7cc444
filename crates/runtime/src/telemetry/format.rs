//! One line of the log, as JSON or as text.

use std::io::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use tracing::{Level, Metadata};

use super::fields::Fields;

pub(super) struct Line<'a> {
    pub(super) now: DateTime<Utc>,
    pub(super) service: &'static str,
    pub(super) metadata: &'a Metadata<'static>,
    pub(super) fields: &'a Fields,
}

impl Line<'_> {
    // Writing to a Vec cannot fail, so results are not looked at here.

    /// `level`, `message` and `timestamp` first; then the fields as they are called in requirement OB-02.
    pub(super) fn json(&self, out: &mut Vec<u8>) {
        let _ = write!(
            out,
            r#"{{"timestamp":"{}","level":"{}","message":"#,
            self.now.to_rfc3339_opts(SecondsFormat::Micros, true),
            level(self.metadata)
        );
        let _ = serde_json::to_writer(&mut *out, &self.fields.message);
        let _ = write!(
            out,
            r#","service":"{}","target":"{}""#,
            self.service,
            self.metadata.target()
        );
        for (name, value) in &self.fields.values {
            if matches!(*name, "timestamp" | "level" | "service" | "target") {
                continue;
            }
            let _ = write!(out, ",");
            let _ = serde_json::to_writer(&mut *out, name);
            let _ = write!(out, ":");
            let _ = serde_json::to_writer(&mut *out, value);
        }
        out.extend_from_slice(b"}\n");
    }

    /// `12:00:01.234 INFO  auth: message key=value …`
    pub(super) fn text(&self, out: &mut Vec<u8>) {
        let (time, level) = (
            self.now.format("%H:%M:%S%.3f"),
            level(self.metadata).to_uppercase(),
        );
        let _ = write!(out, "{time} {level:<5} {}: ", self.metadata.target());
        one_line(&self.fields.message, out);
        for (name, value) in &self.fields.values {
            let _ = write!(out, " {name}=");
            match value {
                Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '\n']) => {
                    one_line(text, out)
                }
                other => {
                    let _ = serde_json::to_writer(&mut *out, other);
                }
            }
        }
        out.push(b'\n');
    }
}

/// Line ends inside a message would let one message pose as two.
fn one_line(text: &str, out: &mut Vec<u8>) {
    if text.contains(char::is_control) {
        for c in text.chars() {
            if c.is_control() {
                let _ = write!(out, "{}", c.escape_default());
            } else {
                let _ = write!(out, "{c}");
            }
        }
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

fn level(metadata: &Metadata<'_>) -> &'static str {
    match *metadata.level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}
