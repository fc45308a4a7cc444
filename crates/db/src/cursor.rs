//! Cursors of lists: sealed, so that a client can neither read nor forge them, and good only for the list that gave them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::{Clock, Error, RequestContext, Result, Violation};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A page is turned within a day, or the list is read from its beginning.
const LIFETIME_SECONDS: i64 = 24 * 60 * 60;
/// Longer texts are none of ours.
const SEALED_CHARS_MAX: usize = 2_048;

/// Seals and opens cursors. Cloning is cheap.
#[derive(Clone)]
pub struct Sealer(Arc<Inner>);

struct Inner {
    key: LessSafeKey,
    random: SystemRandom,
    clock: Clock,
}

/// What a cursor is bound to besides the tenant: the method of the list, and its filters and order.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// For example `/niche.v1.RecordService/ListRecords`.
    pub route: &'a str,
    /// From [`filters_hash`], over everything that decides which rows come in which order.
    pub filters: [u8; 32],
}

impl<'a> Scope<'a> {
    /// The scope of a list with these filters, for example `Scope::new(ctx.method(), &(status, query, sort))`.
    pub fn new(route: &'a str, filters: &impl Serialize) -> Self {
        Self {
            route,
            filters: filters_hash(filters),
        }
    }
}

/// A digest of filters for [`Scope`].
pub fn filters_hash(filters: &impl Serialize) -> [u8; 32] {
    let text = serde_json::to_vec(filters).unwrap_or_default();
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &text).as_ref());
    hash
}

impl Sealer {
    /// Takes any secret of at least 32 random characters (`CURSOR_KEY`); all replicas of a service share it.
    pub fn new(secret: &SecretString, clock: Clock) -> Self {
        let key = digest(&SHA256, secret.expose_secret().as_bytes());
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref())
            .expect("SHA-256 gives the 32 bytes of an AES-256 key");
        Self(Arc::new(Inner {
            key: LessSafeKey::new(key),
            random: SystemRandom::new(),
            clock,
        }))
    }

    /// Seals where the next page begins.
    pub fn seal<T: Serialize>(
        &self,
        ctx: &RequestContext,
        scope: &Scope<'_>,
        position: &T,
    ) -> Result<String> {
        let mut nonce = [0; NONCE_LEN];
        self.0
            .random
            .fill(&mut nonce)
            .map_err(|_| Error::internal("the random generator failed"))?;
        let mut sealed = serde_json::to_vec(&(self.0.clock.now().timestamp(), position))
            .map_err(Error::internal)?;
        self.0
            .key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound_to(ctx, scope)),
                &mut sealed,
            )
            .map_err(|_| Error::internal("sealing a cursor failed"))?;
        let mut whole = nonce.to_vec();
        whole.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(whole))
    }

    /// Opens a cursor; none for an empty text, which is the first page.
    ///
    /// `VALIDATION_ERROR` for one that was altered, has expired, or came from another tenant, route or set of filters: which of these is not told.
    pub fn open<T: DeserializeOwned>(
        &self,
        ctx: &RequestContext,
        scope: &Scope<'_>,
        cursor: &str,
    ) -> Result<Option<T>> {
        if cursor.is_empty() {
            return Ok(None);
        }
        self.try_open(ctx, scope, cursor).map(Some).ok_or_else(|| {
            let message = "the cursor is not one that this list gave, or it has expired; start again without it";
            Error::invalid(vec![Violation::new("cursor", "cursor.invalid", message)])
        })
    }

    fn try_open<T: DeserializeOwned>(
        &self,
        ctx: &RequestContext,
        scope: &Scope<'_>,
        cursor: &str,
    ) -> Option<T> {
        if cursor.len() > SEALED_CHARS_MAX {
            return None;
        }
        let mut whole = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (nonce, sealed) = whole.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self
            .0
            .key
            .open_in_place(nonce, Aad::from(bound_to(ctx, scope)), sealed)
            .ok()?;
        let (sealed_at, position): (i64, T) = serde_json::from_slice(plain).ok()?;
        let age = self.0.clock.now().timestamp() - sealed_at;
        (age <= LIFETIME_SECONDS).then_some(position)
    }
}

/// Everything in it has a fixed length except the route, which comes last, so no two scopes give the same bytes.
fn bound_to(ctx: &RequestContext, scope: &Scope<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(48 + scope.route.len());
    bytes.extend_from_slice(
        ctx.tenant_id()
            .unwrap_or(kernel::TenantId::PLATFORM)
            .uuid()
            .as_bytes(),
    );
    bytes.extend_from_slice(&scope.filters);
    bytes.extend_from_slice(scope.route.as_bytes());
    bytes
}
