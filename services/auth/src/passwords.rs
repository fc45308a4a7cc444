//! Passwords: peppered Argon2id, bounded, and equally slow for people who do not exist.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use kernel::{Error, Result, Violation};
use ring::hmac;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use zeroize::Zeroizing;

/// OWASP's first choice for Argon2id: 19 MiB, two passes, one lane; about 25 ms of one core.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How long a request waits for one of the hashing slots. Longer than a burst of sign-ins takes, shorter than a client waits.
const SLOT_WAIT_MAX: Duration = Duration::from_secs(2);

/// Sign-ins under way for each slot: enough to keep it busy while others read and write.
const SEATS_PER_SLOT: usize = 2;

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

/// Hashes and verifies passwords, never more at a time than there are slots.
#[derive(Clone)]
pub struct Passwords(Arc<Inner>);

struct Inner {
    pepper: hmac::Key,
    argon: Argon2<'static>,
    slots: Arc<Semaphore>,
    seats: Arc<Semaphore>,
    threads: mpsc::Sender<Job>,
    /// A hash that nobody knows the password of: verifying against it costs what a real verification costs.
    nobody: String,
}

impl Passwords {
    /// `slots` bounds the memory (19 MiB each) and the cores that hashing may take.
    pub fn new(pepper: &[u8], slots: usize) -> Result<Self> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
            .expect("the parameters are within the bounds of Argon2");
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let slots = slots.max(1);
        let mut inner = Inner {
            pepper: hmac::Key::new(hmac::HMAC_SHA256, pepper),
            argon,
            slots: Arc::new(Semaphore::new(slots)),
            seats: Arc::new(Semaphore::new(slots * SEATS_PER_SLOT)),
            threads: start_threads(slots)?,
            nobody: String::new(),
        };
        inner.nobody = inner.hash("a password that is never compared for equality")?;
        Ok(Self(Arc::new(inner)))
    }

    /// Lets in a sign-in, before it has cost anything. Fails with `Unavailable` when too many are under way for too long.
    pub async fn admit(&self) -> Result<OwnedSemaphorePermit> {
        wait_for(&self.0.seats).await
    }

    /// The PHC string of a new salted, peppered hash. Fails with `Unavailable` when no slot becomes free in time.
    pub async fn hash(&self, password: &str) -> Result<String> {
        let password = Zeroizing::new(password.to_owned());
        self.on_a_slot(move |inner| inner.hash(&password)).await
    }

    /// Whether `password` belongs to `hash`; without a hash the answer is no, after the same work.
    pub async fn verify(&self, password: &str, hash: Option<String>) -> Result<bool> {
        let password = Zeroizing::new(password.to_owned());
        self.on_a_slot(move |inner| {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| inner.nobody.clone());
            Ok(inner.verify(&password, &hash)? && known)
        })
        .await
    }

    async fn on_a_slot<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let slot = wait_for(&self.0.slots).await?;
        let inner = self.0.clone();
        let (done, outcome) = oneshot::channel();
        // The permit moves into the work: a caller that goes away does not free a slot whose core is still busy.
        let job = move || {
            let result = work(&inner);
            drop(slot);
            // Nobody is told when the caller went away.
            let _told = done.send(result);
        };
        self.0
            .threads
            .send(Box::new(job))
            .map_err(|_| Error::internal("the threads that hash passwords are gone"))?;
        outcome.await.map_err(Error::internal)?
    }
}

async fn wait_for(permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    tokio::time::timeout(SLOT_WAIT_MAX, Arc::clone(permits).acquire_owned())
        .await
        .map_err(|elapsed| Error::unavailable("password hashing", elapsed))?
        .map_err(Error::internal)
}

impl Inner {
    /// The pepper is applied by HMAC before hashing, so that a stolen database is no use without it.
    fn peppered(&self, password: &str) -> hmac::Tag {
        hmac::sign(&self.pepper, password.as_bytes())
    }

    fn hash(&self, password: &str) -> Result<String> {
        let hash: PasswordHash = self
            .argon
            .hash_password(self.peppered(password).as_ref())
            .map_err(|e| Error::internal(e.to_string()))?;
        Ok(hash.to_string())
    }

    fn verify(&self, password: &str, hash: &str) -> Result<bool> {
        let hash = PasswordHash::new(hash).map_err(|e| Error::internal(e.to_string()))?;
        Ok(self
            .argon
            .verify_password(self.peppered(password).as_ref(), &hash)
            .is_ok())
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread for each slot, until the sender is dropped.
///
/// Not the runtime's blocking threads: those come and go under load, and the allocator keeps the memory of a hash for each of them.
fn start_threads(slots: usize) -> Result<mpsc::Sender<Job>> {
    let (sender, jobs) = mpsc::channel::<Job>();
    let jobs = Arc::new(Mutex::new(jobs));
    for number in 0..slots {
        let jobs = Arc::clone(&jobs);
        let work = move || {
            loop {
                let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(job) = job else { return };
                // Whoever waits for the outcome learns of the panic; the thread goes on.
                let _ended = catch_unwind(AssertUnwindSafe(job));
            }
        };
        std::thread::Builder::new()
            .name(format!("password-{number}"))
            .spawn(work)
            .map_err(Error::internal)?;
    }
    Ok(sender)
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

    #[tokio::test]
    async fn a_hash_verifies_only_with_its_password_and_its_pepper() {
        let passwords = Passwords::new(b"pepper one", 2).unwrap();
        let hash = passwords.hash("violet tractor mumbles").await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(
            passwords
                .verify("violet tractor mumbles", Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .verify("violet tractor mumble", Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .verify("a password that is never compared for equality", None)
                .await
                .unwrap()
        );
        let other = Passwords::new(b"pepper two", 2).unwrap();
        assert!(
            !other
                .verify("violet tractor mumbles", Some(hash))
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_does_not_free_a_busy_slot() {
        let passwords = Passwords::new(b"pepper", 1).unwrap();
        let abandoned = passwords.hash("violet tractor mumbles");
        // One poll takes the slot and starts the work; dropping the future must not give the slot back.
        assert!(futures::poll!(Box::pin(abandoned)).is_pending());
        assert_eq!(passwords.0.slots.available_permits(), 0);
    }
}
