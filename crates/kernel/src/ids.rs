//! Typed ids. All are UUIDs; new ones are version 7 (RFC 9562), so they sort by creation time.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::Clock;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The id as a UUID, for binding to a statement.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }
    };
}

id!(
    /// A customer of the platform.
    TenantId
);
id!(
    /// A person; one identity over all tenants.
    UserId
);
id!(
    /// One sign-in of a person on one device.
    SessionId
);
id!(
    /// A record of a niche.
    RecordId
);
id!(
    /// An import job.
    ImportId
);

impl TenantId {
    /// The scope of the platform itself: rows that belong to no customer carry it, and no customer can have it.
    pub const PLATFORM: Self = Self(Uuid::nil());

    /// Whether this is the platform's own scope.
    pub fn is_platform(self) -> bool {
        self == Self::PLATFORM
    }
}

/// Makes new ids. Injected, so that tests can foresee them.
#[derive(Clone)]
pub struct Ids(Source);

#[derive(Clone)]
enum Source {
    Random(Clock),
    Counted(Arc<AtomicU64>),
}

impl Ids {
    /// Ids of version 7 whose time part comes from `clock`.
    pub fn random(clock: Clock) -> Self {
        Self(Source::Random(clock))
    }

    /// Ids that count up from 1, for tests: `00000000-0000-7000-8000-000000000001` and on.
    pub fn counted() -> Self {
        Self(Source::Counted(Arc::new(AtomicU64::new(1))))
    }

    /// The next id; later ids sort after earlier ones of the same process, to the millisecond.
    pub fn next(&self) -> Uuid {
        match &self.0 {
            Source::Random(clock) => {
                let millis = u64::try_from(clock.now().timestamp_millis()).unwrap_or(0);
                let random: [u8; 10] = random_bytes();
                uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
            }
            Source::Counted(counter) => {
                let n = counter.fetch_add(1, Ordering::Relaxed);
                Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0000 | u128::from(n))
            }
        }
    }
}

/// Ten random bytes from the thread's own generator: cryptographically strong, seeded by the operating system and seeded anew as it is used.
/// Asking the operating system for each id would be a system call each, and a request makes several ids.
fn random_bytes() -> [u8; 10] {
    rand::random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_version_7_and_carry_the_time_of_the_clock() {
        let clock = Clock::manual("2026-01-02T03:04:05Z");
        let id = Ids::random(clock.clone()).next();
        assert_eq!(id.get_version_num(), 7);
        let (seconds, _) = id.get_timestamp().expect("version 7 has a time").to_unix();
        assert_eq!(seconds, u64::try_from(clock.now().timestamp()).unwrap());
    }

    #[test]
    fn counted_ids_are_foreseeable() {
        let ids = Ids::counted();
        assert_eq!(
            ids.next().to_string(),
            "00000000-0000-7000-8000-000000000001"
        );
        assert_eq!(
            ids.next().to_string(),
            "00000000-0000-7000-8000-000000000002"
        );
    }
}
