//! The statements on the tables that every service's schema has, with the schema filled in once.

/// Texts with a checked schema name in them; nothing of a request ever enters.
pub(crate) struct Statements {
    pub(crate) insert_outbox: String,
    pub(crate) insert_inbox: String,
    pub(crate) reserve_key: String,
    pub(crate) find_key: String,
    pub(crate) store_answer: String,
    pub(crate) release_key: String,
    pub(crate) sweep: String,
}

impl Statements {
    pub(crate) fn new(schema: &str) -> Self {
        let key = "tenant_id = $1 and actor_id = $2 and handler = $3 and key = $4";
        Self {
            // `with ordinality` keeps the order of emission within the transaction.
            insert_outbox: format!(
                "insert into {schema}.outbox (tenant_id, id, type, subject, envelope) \
                 select $1, e.id, e.type, e.subject, e.envelope::jsonb \
                 from unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) with ordinality as e (id, type, subject, envelope, n) order by e.n"
            ),
            insert_inbox: format!(
                "insert into {schema}.inbox (tenant_id, consumer, event_id, received_at) values ($1, $2, $3, $4) on conflict do nothing"
            ),
            // An expired key is taken over; a live one stays and no row comes back. Either way a running holder is waited for.
            reserve_key: format!(
                "insert into {schema}.idempotency_keys as k (tenant_id, actor_id, handler, key, fingerprint, expires_at) \
                 values ($1, $2, $3, $4, $5, $6) \
                 on conflict (tenant_id, actor_id, handler, key) do update \
                 set fingerprint = excluded.fingerprint, response = null, expires_at = excluded.expires_at where k.expires_at <= $7"
            ),
            find_key: format!(
                "select fingerprint, response from {schema}.idempotency_keys where {key}"
            ),
            store_answer: format!("update {schema}.idempotency_keys set response = $5 where {key}"),
            release_key: format!("delete from {schema}.idempotency_keys where {key}"),
            sweep: format!("select {schema}.sweep_expired($1, $2, $3, $4)"),
        }
    }
}
