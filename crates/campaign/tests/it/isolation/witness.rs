//! Hears every span and every line of the process, before anything is masked.

use std::fmt::{Debug, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

/// Our own crates; of others only what an operator would see.
const OURS: [&str; 12] = [
    "auth", "cache", "db", "events", "gateway", "kernel", "niche", "rpc", "runtime", "search",
    "stack", "tenant",
];

static HEARD: Mutex<String> = Mutex::new(String::new());

/// Begins to listen, once for the process. Says whether anything will be heard: another test may have taken the place.
pub fn listen() -> bool {
    static LISTENING: OnceLock<bool> = OnceLock::new();
    *LISTENING.get_or_init(|| {
        let filter = Targets::new()
            .with_default(LevelFilter::INFO)
            .with_targets(OURS.map(|target| (target, LevelFilter::DEBUG)));
        tracing::subscriber::set_global_default(
            tracing_subscriber::registry().with(Ear.with_filter(filter)),
        )
        .is_ok()
    })
}

/// How much has been heard so far.
pub fn mark() -> usize {
    heard().len()
}

/// What has been heard since.
pub fn since(mark: usize) -> String {
    heard()[mark..].to_owned()
}

fn heard() -> std::sync::MutexGuard<'static, String> {
    HEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Ear;

impl<S: Subscriber> Layer<S> for Ear {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut line = Line(format!("span {}", attributes.metadata().name()));
        attributes.record(&mut line);
        line.keep();
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut line = Line("span+".to_owned());
        values.record(&mut line);
        line.keep();
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line(format!(
            "{} {}",
            event.metadata().level(),
            event.metadata().target()
        ));
        event.record(&mut line);
        line.keep();
    }
}

struct Line(String);

impl Line {
    fn keep(self) {
        let mut heard = heard();
        heard.push_str(&self.0);
        heard.push('\n');
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}
