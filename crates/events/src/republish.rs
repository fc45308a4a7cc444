//! `<service> republish`: events that the broker has confirmed once are published again, because a queue was lost.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use db::{Outbox, Republish};
use runtime::Process;
use uuid::Uuid;

/// What the command takes; printed when it is misused.
const USAGE: &str = "usage: republish --last <n>(s|m|h|d) | --since <RFC 3339>  [--until <RFC 3339>] [--type <event type>]... [--subject <id>] [--tenant <id>]";

/// Carries out the command with the words of the command line, and answers how many events were put back into the outbox.
///
/// The relay of the running service publishes them. Consumers that have applied one already recognise it by its id.
pub async fn republish(config: &db::Config, process: &Process) -> Result<u64, String> {
    let wanted = read(&runtime::words(), process.clock.now())?;
    let outbox = Outbox::connect(config).map_err(|error| error.chain())?;
    let events = outbox
        .republish(&wanted)
        .await
        .map_err(|error| error.chain())?;
    tracing::info!(
        source = outbox.schema(),
        events,
        ?wanted,
        "events are in the outbox again; the relay publishes them"
    );
    Ok(events)
}

/// Reads the words after `republish`. A beginning must be named: to publish everything again is rarely meant.
fn read(words: &[String], now: DateTime<Utc>) -> Result<Republish, String> {
    let mut wanted = Republish::default();
    let mut since = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{word} needs a value; {USAGE}"))?;
        match word.as_str() {
            "--last" => since = Some(now - duration(value)?),
            "--since" => since = Some(parsed::<DateTime<Utc>>(word, value)?),
            "--until" => wanted.until = Some(parsed(word, value)?),
            "--type" => wanted.types.push(value.clone()),
            "--subject" => wanted.subject = Some(value.clone()),
            "--tenant" => wanted.tenant_id = Some(parsed::<Uuid>(word, value)?),
            _ => return Err(format!("there is no {word}; {USAGE}")),
        }
    }
    wanted.since = since.ok_or_else(|| USAGE.to_owned())?;
    Ok(wanted)
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(word: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|error| format!("{word} {value}: {error}; {USAGE}"))
}

fn duration(text: &str) -> Result<TimeDelta, String> {
    let wrong = || format!("--last {text}: not a number and one of s, m, h, d; {USAGE}");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(TimeDelta::seconds(i64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Result<Republish, String> {
        let now = "2026-06-01T12:00:00Z".parse().unwrap();
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        read(&words, now)
    }

    #[test]
    fn a_beginning_and_narrower_conditions_are_read() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(
            said("--last 90m").unwrap().since,
            at("2026-06-01T10:30:00Z")
        );
        let narrow = said(
            "--since 2026-06-01T08:00:00-03:00 --until 2026-06-01T11:30:00Z --type user.created --type audit.recorded --subject u1 \
             --tenant aaaaaaaa-0000-7000-8000-00000000000a",
        );
        let narrow = narrow.unwrap();
        assert_eq!(
            (narrow.since, narrow.until),
            (at("2026-06-01T11:00:00Z"), Some(at("2026-06-01T11:30:00Z")))
        );
        assert_eq!(narrow.types, ["user.created", "audit.recorded"]);
        assert_eq!(narrow.subject.as_deref(), Some("u1"));
        assert!(narrow.tenant_id.is_some());
    }

    #[test]
    fn what_is_not_understood_publishes_nothing() {
        for line in [
            "",
            "--type user.created",
            "--last",
            "--last 5",
            "--last h",
            "--last -1h",
            "--last 1\u{e9}",
            "--since yesterday",
            "--last 1h --tenant acme",
            "--all yes",
        ] {
            let problem = said(line).unwrap_err();
            assert!(problem.contains("usage: republish"), "{line}: {problem}");
        }
    }
}
