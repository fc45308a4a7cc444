//! Names and comments, after the basic rules that buf made customary.

use super::Problem;
use crate::contract::surface::{Surface, comment, place};

/// Every service and every method says what it does: the comments become the published API description.
pub fn comments_are_there(surface: &Surface) -> Vec<Problem> {
    const RULE: &str = "comments-are-there";
    let mut found = Vec::new();
    for service in surface
        .services
        .iter()
        .filter(|service| comment(&service.parent_file(), service.path()).is_empty())
    {
        let place = place(&service.parent_file(), service.path());
        found.push(Problem::new(
            place,
            service.full_name(),
            RULE,
            "say in a comment what the service is for",
        ));
    }
    for method in &surface.methods {
        if comment(&method.descriptor.parent_file(), method.descriptor.path()).is_empty() {
            found.push(Problem::of_method(
                method,
                RULE,
                "say in a comment what the method does; it is published",
            ));
        }
    }
    found
}

/// The package is the folder, ends in a version, and is declared by files in lower snake case.
pub fn packages_are_folders(surface: &Surface) -> Vec<Problem> {
    const RULE: &str = "packages-are-folders";
    let mut found = Vec::new();
    for file in &surface.files {
        let mut say = |text: String| {
            found.push(Problem::new(
                format!("proto/{}", file.name()),
                file.package_name(),
                RULE,
                text,
            ))
        };
        let (folder, name) = file.name().rsplit_once('/').unwrap_or(("", file.name()));
        if folder.replace('/', ".") != file.package_name() {
            say(format!(
                "package `{}` must lie in the folder proto/{}",
                file.package_name(),
                file.package_name().replace('.', "/")
            ));
        }
        let version = file.package_name().rsplit('.').next().unwrap_or_default();
        if !version
            .strip_prefix('v')
            .is_some_and(|rest| rest.parse::<u16>().is_ok_and(|number| number > 0))
        {
            say("the last part of a package is its version, such as `v1`".to_owned());
        }
        if !is_snake(name.trim_end_matches(".proto")) {
            say("a file is named in lower_snake_case".to_owned());
        }
    }
    found
}

/// UpperCamelCase for services, methods and messages, lower_snake_case for fields, UPPER_SNAKE_CASE for enum values.
pub fn names_are_in_style(surface: &Surface) -> Vec<Problem> {
    const RULE: &str = "names-are-in-style";
    let mut found = Vec::new();
    for service in &surface.services {
        if !is_camel(service.name()) || !service.name().ends_with("Service") {
            let place = place(&service.parent_file(), service.path());
            found.push(Problem::new(
                place,
                service.full_name(),
                RULE,
                "a service is named `<Noun>Service`",
            ));
        }
    }
    for method in surface
        .methods
        .iter()
        .filter(|method| !is_camel(method.descriptor.name()))
    {
        found.push(Problem::of_method(
            method,
            RULE,
            "a method is named in UpperCamelCase",
        ));
    }
    for message in surface
        .messages
        .iter()
        .filter(|message| !message.full_name().starts_with("google."))
    {
        if !is_camel(message.name()) {
            found.push(Problem::of_message(
                message,
                RULE,
                "a message is named in UpperCamelCase, abbreviations too (`HttpBody`)",
            ));
        }
        for field in message.fields().filter(|field| !is_snake(field.name())) {
            found.push(Problem::of_field(
                &field,
                RULE,
                "a field is named in lower_snake_case",
            ));
        }
    }
    for value in surface
        .files
        .iter()
        .flat_map(|file| file.enums().collect::<Vec<_>>())
        .flat_map(|e| e.values().collect::<Vec<_>>())
    {
        if !is_snake(&value.name().to_ascii_lowercase())
            || value.name().chars().any(|c| c.is_ascii_lowercase())
        {
            let place = place(&value.parent_enum().parent_file(), value.path());
            found.push(Problem::new(
                place,
                value.full_name(),
                RULE,
                "an enum value is named in UPPER_SNAKE_CASE",
            ));
        }
    }
    found
}

/// `GetThing` takes a `GetThingRequest` and answers a `GetThingResponse`, so that each can grow without the others.
pub fn requests_and_responses_are_own(surface: &Surface) -> Vec<Problem> {
    const RULE: &str = "requests-and-responses-are-own";
    let mut found = Vec::new();
    for method in &surface.methods {
        let descriptor = &method.descriptor;
        let (input, output) = (descriptor.input(), descriptor.output());
        if input.name() != format!("{}Request", descriptor.name()) {
            found.push(Problem::of_method(
                method,
                RULE,
                format!("the request must be named `{}Request`", descriptor.name()),
            ));
        }
        // A raw answer has no message of its own.
        if output.name() != format!("{}Response", descriptor.name())
            && output.full_name() != "google.api.HttpBody"
        {
            found.push(Problem::of_method(
                method,
                RULE,
                format!("the response must be named `{}Response`", descriptor.name()),
            ));
        }
    }
    found
}

/// `HttpBody2` is, `HTTPBody` and `http_body` are not: two capitals in a row would be renamed by the code generators.
fn is_camel(name: &str) -> bool {
    let letters: Vec<char> = name.chars().collect();
    letters.first().is_some_and(char::is_ascii_uppercase)
        && letters.iter().all(char::is_ascii_alphanumeric)
        && !letters
            .windows(2)
            .any(|pair| pair[0].is_ascii_uppercase() && pair[1].is_ascii_uppercase())
}

fn is_snake(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('_')
        && !name.contains("__")
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::super::sample::{assert_problems, check_with, method, service, surface_at};
    use super::*;

    #[test]
    fn services_and_methods_are_commented() {
        check_with(&service("", ""), comments_are_there, &[]);
        check_with(
            &service("", "").replace("// Gets it.", ""),
            comments_are_there,
            &["GetThing: say in a comment"],
        );
        check_with(
            &service("", "").replace("// Things.", ""),
            comments_are_there,
            &["ThingService: say in a comment"],
        );
    }

    #[test]
    fn packages_lie_in_their_folder() {
        check_with("", packages_are_folders, &[]);
        assert_problems(
            &packages_are_folders(&surface_at("other/v1/thing.proto", "")),
            &["must lie in the folder proto/sample/v1"],
        );
        assert_problems(
            &packages_are_folders(&surface_at("sample/v1/My-Thing.proto", "")),
            &["named in lower_snake_case"],
        );
    }

    #[test]
    fn names_are_checked() {
        check_with(&method(""), names_are_in_style, &[]);
        check_with(
            "// X.\nservice Things {}",
            names_are_in_style,
            &["`<Noun>Service`"],
        );
        check_with(
            "message HTTPThing { string camelCase = 1; }",
            names_are_in_style,
            &["UpperCamelCase", "lower_snake_case"],
        );
        check_with(
            "enum E { zero = 0; }",
            names_are_in_style,
            &["UPPER_SNAKE_CASE"],
        );
    }

    #[test]
    fn requests_and_responses_belong_to_one_method() {
        check_with(&service("", ""), requests_and_responses_are_own, &[]);
        let shared = service("", "").replace("(GetThingResponse)", "(GetThingRequest)");
        check_with(
            &shared,
            requests_and_responses_are_own,
            &["must be named `GetThingResponse`"],
        );
        let raw = service("", "").replace("(GetThingResponse)", "(google.api.HttpBody)");
        check_with(&raw, requests_and_responses_are_own, &[]);
    }
}
