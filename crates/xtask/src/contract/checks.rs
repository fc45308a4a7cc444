//! The rules that the contract keeps. Each is a function from the contract to problems; any problem stops the generation.

pub mod access;
pub mod events;
pub mod fields;
pub mod http;
#[cfg(test)]
pub mod sample;
pub mod style;

use std::collections::BTreeSet;
use std::fmt;

use prost_reflect::{FieldDescriptor, MessageDescriptor, MethodDescriptor};

use super::catalogue::Catalogue;
use super::surface::{Method, Surface, place};

/// One broken rule: where, what, which rule, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    place: String,
    subject: String,
    rule: &'static str,
    text: String,
}

impl Problem {
    /// A problem at a place such as `proto/auth/v1/session.proto:12`.
    pub fn new(
        place: impl Into<String>,
        subject: impl Into<String>,
        rule: &'static str,
        text: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            subject: subject.into(),
            rule,
            text: text.into(),
        }
    }

    fn of_method(method: &Method, rule: &'static str, text: impl Into<String>) -> Self {
        Self::of_descriptor(&method.descriptor, rule, text)
    }

    fn of_descriptor(
        method: &MethodDescriptor,
        rule: &'static str,
        text: impl Into<String>,
    ) -> Self {
        Self::new(
            place(&method.parent_file(), method.path()),
            method.full_name(),
            rule,
            text,
        )
    }

    fn of_message(
        message: &MessageDescriptor,
        rule: &'static str,
        text: impl Into<String>,
    ) -> Self {
        Self::new(
            place(&message.parent_file(), message.path()),
            message.full_name(),
            rule,
            text,
        )
    }

    fn of_field(field: &FieldDescriptor, rule: &'static str, text: impl Into<String>) -> Self {
        Self::new(
            place(&field.parent_message().parent_file(), field.path()),
            field.full_name(),
            rule,
            text,
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}: {} [{}]",
            self.place, self.subject, self.text, self.rule
        )
    }
}

/// Every problem of the contract, in the order of files.
///
/// `services` are the names that `callers` may hold.
pub fn all(surface: &Surface, catalogue: &Catalogue, services: &BTreeSet<String>) -> Vec<Problem> {
    let mut found = Vec::new();
    found.extend(access::policy_is_declared(surface));
    found.extend(access::permission_is_named(surface));
    found.extend(access::permission_is_in_catalogue(surface, catalogue));
    found.extend(access::internal_stays_internal(surface, services));
    found.extend(access::rate_is_declared(surface));
    found.extend(access::audited_has_an_action(surface));
    found.extend(http::mapping_is_declared(surface));
    found.extend(http::template_is_sound(surface));
    found.extend(http::body_is_sound(surface));
    found.extend(http::query_can_hold_the_rest(surface));
    found.extend(http::routes_are_unique(surface));
    found.extend(http::streams_fit_http(surface));
    found.extend(http::answer_fits_http(surface));
    found.extend(fields::request_fields_are_bounded(surface));
    found.extend(fields::personal_data_is_declared(surface));
    found.extend(events::events_are_sound(surface));
    found.extend(style::comments_are_there(surface));
    found.extend(style::packages_are_folders(surface));
    found.extend(style::names_are_in_style(surface));
    found.extend(style::requests_and_responses_are_own(surface));
    found.extend(catalogue.problems(surface));
    found.sort_by(|a, b| (&a.place, &a.subject, a.rule).cmp(&(&b.place, &b.subject, b.rule)));
    found
}
