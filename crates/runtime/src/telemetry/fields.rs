//! The fields of spans and events, redacted while they are collected.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Write as _};

use serde_json::Value;
use tracing::field::{Field, Visit};

use crate::redact::{MASK, Treatment, scrub, treatment};

/// A text longer than this is cut: a log line is for reading.
const TEXT_CHARS_MAX: usize = 8_000;

thread_local! {
    /// How the fields that this thread has logged are treated. Their names are part of the program, so there are only so many.
    static TREATMENTS: RefCell<HashMap<&'static str, Treatment>> = RefCell::default();
}

/// Deciding takes longer than remembering, and each line has a dozen fields.
fn remembered_treatment(name: &'static str) -> Treatment {
    TREATMENTS.with_borrow_mut(|known| *known.entry(name).or_insert_with(|| treatment(name)))
}

/// Fields in the order in which they were written.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) values: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl FnOnce() -> Value) {
        let name = field.name();
        // These steer the trace exporter and say nothing to a reader of logs.
        if name.starts_with("otel.") || name.starts_with("log.") {
            return;
        }
        let value = match remembered_treatment(name) {
            Treatment::Keep => value(),
            Treatment::Mask => Value::from(MASK),
            Treatment::Remove => return,
        };
        match self.values.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.values.push((name, value)),
        }
    }

    fn text(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            self.message = clean(text);
        } else {
            self.put(field, || Value::from(clean(text)));
        }
    }
}

fn clean(text: &str) -> String {
    let cut = match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((at, _)) => &text[..at],
        None => text,
    };
    scrub(cut).into_owned()
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a String cannot fail, and a failing Debug leaves what it wrote.
        let _ = write!(text, "{value:?}");
        self.text(field, &text);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, &value.to_string());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, || value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, || value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, || value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, || value.into());
    }
}
