//! Passwords: peppered Argon2id, bounded, and equally slow for people who do not exist.

mod room;
mod threads;

use std::sync::Arc;
use std::time::Instant;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, Version};
use kernel::{Clock, Error, Result, Violation};
use opentelemetry::metrics::Meter;
use ring::hmac;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use zeroize::Zeroizing;

use room::Room;
use threads::{Memory, Threads};

/// OWASP's first choice for Argon2id: 19 MiB, two passes, one lane; about 25 ms of one core.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const HASH_BYTES: usize = 32;

/// Distinct characters below which a password is a pattern, whatever its length.
const DISTINCT_CHARS_MIN: usize = 5;

/// Long passwords that every guessing list holds, and words that people double to reach the length.
const COMMON: &[&str] = &[
    "password",
    "passw0rd",
    "senha",
    "tenantry",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertyuiop",
    "qwerty",
    "letmein",
    "welcome",
    "iloveyou",
    "administrator",
    "admin",
    "changeme",
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "12345678901234567890",
    "1q2w3e4r5t6y7u8i9o0p",
    "brasil",
    "mudar",
];

/// Hashes and verifies passwords: as many at once as there are slots, a few more wait for one, and everybody else is refused.
#[derive(Clone)]
pub struct Passwords(Arc<Inner>);

struct Inner {
    hasher: Arc<Hasher>,
    room: Room,
    threads: Threads,
}

/// The way to have a password hashed. Nothing hashes without one; it is free again when it is dropped and its work is done.
pub struct Seat<'p> {
    passwords: &'p Inner,
    permit: Arc<OwnedSemaphorePermit>,
}

impl Passwords {
    /// `slots` bounds the cores and the memory (19 MiB each) that hashing may take.
    pub fn new(pepper: &[u8], slots: usize, clock: Clock, meter: &Meter) -> Result<Self> {
        let slots = slots.max(1);
        Ok(Self(Arc::new(Inner {
            hasher: Arc::new(Hasher::new(pepper)?),
            room: Room::new(slots, clock, meter),
            threads: Threads::start(slots)?,
        })))
    }

    /// Lets in a request that has a password in it, before it has cost anything, so that it may be done by `deadline`.
    ///
    /// Whom the password belongs to is asked afterwards, so a refusal tells nothing about anybody. Fails with `Unavailable` when too many
    /// have come before.
    pub async fn admit(&self, deadline: Option<Instant>) -> Result<Seat<'_>> {
        Ok(Seat {
            permit: Arc::new(self.0.room.enter(deadline).await?),
            passwords: &self.0,
        })
    }
}

impl Seat<'_> {
    /// The PHC string of a new salted, peppered hash.
    pub async fn hash(&self, password: &str) -> Result<String> {
        let password = Zeroizing::new(password.to_owned());
        self.work(move |hasher, memory| hasher.hash(memory, &password))
            .await
    }

    /// Whether `password` belongs to `hash`; without a hash the answer is no, after the same work.
    pub async fn verify(&self, password: &str, hash: Option<String>) -> Result<bool> {
        let password = Zeroizing::new(password.to_owned());
        self.work(move |hasher, memory| {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| hasher.nobody.clone());
            Ok(hasher.verify(memory, &password, &hash)? && known)
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Hasher, &mut Memory) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let hasher = Arc::clone(&self.passwords.hasher);
        // The seat stays taken until the work has ended: a caller that goes away does not free a core that is still busy.
        let permit = Arc::clone(&self.permit);
        let (done, outcome) = oneshot::channel();
        self.passwords.threads.give(Box::new(move |memory| {
            // Nobody waits for it any more.
            if done.is_closed() {
                return;
            }
            let result = work(&hasher, memory);
            drop(permit);
            let _told = done.send(result);
        }));
        outcome.await.map_err(Error::internal)?
    }
}

struct Hasher {
    pepper: hmac::Key,
    argon: Argon2<'static>,
    /// A hash that nobody knows the password of: verifying against it costs what a real verification costs.
    nobody: String,
}

impl Hasher {
    fn new(pepper: &[u8]) -> Result<Self> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES)).map_err(broken)?;
        let mut hasher = Self {
            pepper: hmac::Key::new(hmac::HMAC_SHA256, pepper),
            argon: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            nobody: String::new(),
        };
        let nobody = "a password that is never compared for equality";
        hasher.nobody = hasher.hash(&mut Memory::default(), nobody)?;
        Ok(hasher)
    }

    /// The pepper is applied by HMAC before hashing, so that a stolen database is no use without it.
    fn peppered(&self, password: &str) -> hmac::Tag {
        hmac::sign(&self.pepper, password.as_bytes())
    }

    fn hash(&self, memory: &mut Memory, password: &str) -> Result<String> {
        let salt = Salt::generate();
        let hash = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(self.argon.params()).map_err(broken)?,
            salt: Some(salt),
            hash: Some(self.digest(&self.argon, memory, (password, &salt, HASH_BYTES))?),
        };
        Ok(hash.to_string())
    }

    fn verify(&self, memory: &mut Memory, password: &str, hash: &str) -> Result<bool> {
        let hash = PasswordHash::new(hash).map_err(broken)?;
        let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else {
            return Err(broken("a stored hash without salt or digest"));
        };
        // A hash is verified with the parameters that it was made with, which may be those of an earlier release.
        let algorithm = Algorithm::try_from(hash.algorithm.as_str()).map_err(broken)?;
        let version = hash.version.map_or(Ok(Version::V0x13), Version::try_from);
        let params = Params::try_from(&hash).map_err(broken)?;
        let argon = Argon2::new(algorithm, version.map_err(broken)?, params);
        let found = self.digest(&argon, memory, (password, salt, expected.len()))?;
        // The comparison takes the same time wherever they differ.
        Ok(found == *expected)
    }

    fn digest(
        &self,
        argon: &Argon2<'_>,
        memory: &mut Memory,
        (password, salt, bytes): (&str, &Salt, usize),
    ) -> Result<Output> {
        let blocks = memory.of(argon.params().block_count());
        let mut digest = Zeroizing::new([0_u8; Output::MAX_LENGTH]);
        let digest = digest
            .get_mut(..bytes)
            .ok_or_else(|| broken("a stored digest is too long"))?;
        argon
            .hash_password_into_with_memory(self.peppered(password).as_ref(), salt, digest, blocks)
            .map_err(broken)?;
        Output::new(digest).map_err(broken)
    }
}

/// Neither parameters nor stored hashes come from a caller, so whatever is wrong with them is our fault.
fn broken(error: impl std::fmt::Display) -> Error {
    Error::internal(error.to_string())
}

/// Refuses passwords that guessing tries first. Length is a declared rule of the contract; composition is nobody's business (NIST SP 800-63B-4).
pub fn refuse_common(password: &str, email: &str) -> Option<Violation> {
    let weak = is_pattern(password) || is_common(password) || contains_address(password, email);
    weak.then(|| {
        Violation::new(
            "password",
            "password.common",
            "this password is easy to guess; take several unrelated words",
        )
    })
}

fn is_pattern(password: &str) -> bool {
    let chars: Vec<char> = password.chars().collect();
    let distinct: std::collections::BTreeSet<char> = chars.iter().copied().collect();
    if distinct.len() < DISTINCT_CHARS_MIN {
        return true;
    }
    let steps = |step: i64| {
        chars
            .windows(2)
            .all(|pair| i64::from(u32::from(pair[1])) - i64::from(u32::from(pair[0])) == step)
    };
    steps(1) || steps(-1)
}

fn is_common(password: &str) -> bool {
    let mut rest: String = password
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric())
        .collect();
    // What is left after the known words are taken out must still be something that one has to guess.
    for word in COMMON {
        rest = rest.replace(word, "");
    }
    rest.chars().filter(|c| !c.is_ascii_digit()).count() < 4 && rest.chars().count() < 10
}

fn contains_address(password: &str, email: &str) -> bool {
    let (password, email) = (password.to_lowercase(), email.to_lowercase());
    let local = email.split('@').next().unwrap_or_default();
    password.contains(&email)
        || (local.chars().count() >= 6 && password.replace(local, "").chars().count() < 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessable_passwords_are_refused() {
        let check = |password: &str, refused: bool| {
            assert_eq!(
                refuse_common(password, "ana.souza@example.com").is_some(),
                refused,
                "{password}"
            )
        };
        check("aaaaaaaaaaaaaaaa", true);
        check("abababababababab", true);
        check("abcdefghijklmnop", true);
        check("passwordpassword", true);
        check("Password12345678", true);
        check("qwertyuiop123456", true);
        check("ana.souza@example.com", true);
        check("ana.souza-123456", true);
        check("violet tractor mumbles quietly", false);
        check("óculos de sol na chuva", false);
        check("x7Kp-29vQ-mmT4-z8", false);
    }

    fn passwords(pepper: &[u8], slots: usize) -> Passwords {
        let meter = opentelemetry::global::meter("test");
        Passwords::new(pepper, slots, Clock::system(), &meter).unwrap()
    }

    #[tokio::test]
    async fn a_hash_verifies_only_with_its_password_and_its_pepper() {
        let passwords = passwords(b"pepper one", 2);
        let seat = passwords.admit(None).await.unwrap();
        let hash = seat.hash("violet tractor mumbles").await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        let verify = async |password: &str, hash: Option<&String>| {
            seat.verify(password, hash.cloned()).await.unwrap()
        };
        assert!(verify("violet tractor mumbles", Some(&hash)).await);
        assert!(!verify("violet tractor mumble", Some(&hash)).await);
        let nobody = "a password that is never compared for equality";
        assert!(!verify(nobody, None).await);
        let other = super::tests::passwords(b"pepper two", 2);
        let seat = other.admit(None).await.unwrap();
        assert!(
            !seat
                .verify("violet tractor mumbles", Some(hash))
                .await
                .unwrap()
        );
    }

    /// The library's own way is the judge: what it makes is verified, and it verifies what is made here.
    #[tokio::test]
    async fn hashes_are_those_of_the_library_whatever_their_parameters() {
        use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
        let passwords = passwords(b"pepper", 1);
        let seat = passwords.admit(None).await.unwrap();
        let hasher = &passwords.0.hasher;
        let peppered = hasher.peppered("violet tractor mumbles");
        for (memory, passes, lanes) in [(MEMORY_KIB, 2, 1), (64, 3, 2), (2 * MEMORY_KIB, 1, 1)] {
            let params = Params::new(memory, passes, lanes, None).unwrap();
            let library = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let made: PasswordHash = library.hash_password(peppered.as_ref()).unwrap();
            let made = Some(made.to_string());
            assert!(
                seat.verify("violet tractor mumbles", made.clone())
                    .await
                    .unwrap()
            );
            assert!(!seat.verify("violet tractor mumble", made).await.unwrap());
        }
        let ours = seat.hash("violet tractor mumbles").await.unwrap();
        let ours = PasswordHash::new(&ours).unwrap();
        assert!(
            hasher
                .argon
                .verify_password(peppered.as_ref(), &ours)
                .is_ok()
        );
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_does_not_free_the_seat_of_work_that_goes_on() {
        let passwords = passwords(b"pepper", 1);
        let (begun, wait) = std::sync::mpsc::channel();
        let (go_on, held) = std::sync::mpsc::channel::<()>();
        let seat = passwords.admit(None).await.unwrap();
        let work = seat.work(move |_, _| {
            begun.send(()).unwrap();
            Ok(held.recv().is_ok())
        });
        {
            let mut work = Box::pin(work);
            assert!(futures::poll!(&mut work).is_pending());
            wait.recv().unwrap();
        }
        drop(seat);
        assert_eq!(passwords.0.room.free_seats(), room::SEATS_PER_SLOT - 1);
        go_on.send(()).unwrap();
        testkit::eventually("the seat is free again", async || {
            (passwords.0.room.free_seats() == room::SEATS_PER_SLOT).then_some(())
        })
        .await;
    }
}
