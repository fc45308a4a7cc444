//! Events: public types that other services and customers' webhooks rely on.

use std::collections::BTreeSet;

use super::Problem;
use crate::contract::surface::{Surface, comment};

/// An event has a dotted type, a version from 1, a comment, no personal data, and nobody else has its type and version.
pub fn events_are_sound(surface: &Surface) -> Vec<Problem> {
    const RULE: &str = "events-are-sound";
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for event in surface.events() {
        let message = &event.message;
        let mut say = |text: String| found.push(Problem::of_message(message, RULE, text));
        let word = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        if event.kind.split('.').count() < 2 || !event.kind.split('.').all(word) {
            say(format!(
                "type `{}` must be lower-case words with dots, such as `user.created`",
                event.kind
            ));
        }
        if event.version == 0 {
            say("version starts at 1".to_owned());
        }
        if !seen.insert((event.kind.clone(), event.version)) {
            say(format!(
                "type `{}` with version {} is another message's",
                event.kind, event.version
            ));
        }
        if comment(&message.parent_file(), message.path()).is_empty() {
            say("say in a comment when it is published and what its subject is".to_owned());
        }
        for field in message
            .fields()
            .filter(|field| surface.pii(field).is_some())
        {
            let text = "an event carries ids, never personal data: it is copied to queues and dead letters";
            found.push(Problem::of_field(&field, RULE, text));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::sample::check_with;
    use super::*;

    #[track_caller]
    fn check(options: &str, fields: &str, expected: &[&str]) {
        let body = format!(
            "// Happened. Subject: the id.\nmessage Happened {{ option (tenantry.api.v1.event) = {{{options}}}; {fields} }}"
        );
        check_with(&body, events_are_sound, expected);
    }

    #[test]
    fn types_versions_and_data_are_checked() {
        check("type: \"thing.happened\" version: 1", "string id = 1;", &[]);
        check(
            "type: \"Happened\" version: 1",
            "",
            &["must be lower-case words with dots"],
        );
        check("type: \"thing.happened\"", "", &["version starts at 1"]);
        check(
            "type: \"thing.happened\" version: 1",
            "string mail = 1 [(tenantry.api.v1.pii) = EMAIL];",
            &["never personal data"],
        );
    }

    #[test]
    fn one_type_is_one_message() {
        let body = "// A.\nmessage A { option (tenantry.api.v1.event) = {type: \"a.b\" version: 1}; }\n\
                    // B.\nmessage B { option (tenantry.api.v1.event) = {type: \"a.b\" version: 1}; }";
        check_with(body, events_are_sound, &["is another message's"]);
        check_with(
            &body
                .replace("// A.\n", "")
                .replacen("version: 1", "version: 2", 1),
            events_are_sound,
            &["say in a comment"],
        );
    }
}
