//! What makes a message an event: its public type and the version of its schema.

use crate::generated::event_table::TYPES;

/// A message that is published: declared with the `(tenantry.api.v1.event)` option, implemented by the generator.
pub trait Event: prost::Message + prost::Name + Default {
    /// The CloudEvents `type` and the routing key, for example `user.created`.
    const TYPE: &'static str;
    /// The version of the payload's schema, from 1.
    const VERSION: u32;
}

/// One row of the event catalogue.
#[derive(Debug, PartialEq, Eq)]
pub struct EventType {
    /// The public type, for example `user.created`.
    pub kind: &'static str,
    /// The version of the payload's schema.
    pub version: u32,
    /// The full name of the message.
    pub message: &'static str,
    /// The comment of the message in one line.
    pub about: &'static str,
}

/// Every event of the contract, sorted by type and version.
pub static ALL: &[EventType] = TYPES;

/// The event of a type and version; `None` when the contract does not know it.
pub fn of(kind: &str, version: u32) -> Option<&'static EventType> {
    ALL.binary_search_by(|event| (event.kind, event.version).cmp(&(kind, version)))
        .ok()
        .map(|found| &ALL[found])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::v1::UserCreated;
    use crate::tenantry::api::v1::AuditRecorded;

    #[test]
    fn constants_come_from_the_option() {
        assert_eq!(
            (UserCreated::TYPE, UserCreated::VERSION),
            ("user.created", 1)
        );
        assert_eq!(
            (AuditRecorded::TYPE, AuditRecorded::VERSION),
            ("audit.recorded", 1)
        );
    }

    #[test]
    fn the_catalogue_is_sorted_and_found() {
        assert!(ALL.is_sorted_by(|a, b| (a.kind, a.version) < (b.kind, b.version)));
        let found = of("user.created", 1).unwrap();
        assert_eq!(found.message, "auth.v1.UserCreated");
        assert_eq!(found.about, "A person signed up. Subject: the user id.");
        assert_eq!(of("user.created", 2), None);
    }
}
