-- Identities and sessions: global by nature. A person exists once on the platform, whatever tenants they belong to,
-- and signs in before any tenant is known. None of these tables holds a tenant's data; columns that name a tenant are
-- called `bound_tenant`, `last_tenant`, `member_of` or `about_tenant`, never `tenant_id`.
-- Times are set by the service's clock, not by the database's.
select app.install_service_tables('auth');

create table auth.users (
    id uuid primary key,
    -- Trimmed and lower-cased by the service, so that plain equality finds it.
    email text not null constraint users_email_key unique check (email = lower(email)),
    name text not null,
    locale text not null check (locale in ('en', 'pt-BR')),
    status text not null default 'active' check (status in ('active', 'suspended')),
    suspended_reason text,
    email_verified_at timestamptz,
    platform_role text check (platform_role in ('super_admin')),
    last_tenant uuid,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create table auth.credentials (
    user_id uuid primary key references auth.users (id),
    -- PHC string of a peppered Argon2id hash.
    password_hash text not null,
    updated_at timestamptz not null
);

-- One row per sign-up attempt. The password belongs to the attempt and becomes the account's only when the link of that very
-- attempt is opened: whoever signs up with somebody else's address can never choose the password of the account.
create table auth.email_verifications (
    id uuid primary key,
    user_id uuid not null references auth.users (id),
    token_hash bytea not null constraint email_verifications_token_hash_key unique,
    password_hash text not null,
    name text not null,
    locale text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz
);
create index email_verifications_user on auth.email_verifications (user_id, created_at desc);
create index email_verifications_expires on auth.email_verifications (expires_at);

create table auth.sessions (
    id uuid primary key,
    user_id uuid not null references auth.users (id),
    created_at timestamptz not null,
    expires_at timestamptz not null,
    revoked_at timestamptz,
    revoked_reason text check (revoked_reason in ('logout', 'logout_everywhere', 'reuse')),
    last_tenant uuid,
    ip text not null,
    -- Keyed hash of the network that the sign-in came from: tells a known place from a new one.
    network_key bytea not null,
    user_agent text not null
);
create index sessions_user on auth.sessions (user_id, created_at desc);
create index sessions_expires on auth.sessions (expires_at);

-- A family is the chain of one session in one tenant: each refresh uses up one token and puts its successor in place.
create table auth.refresh_tokens (
    id uuid primary key,
    hash bytea not null constraint refresh_tokens_hash_key unique,
    family_id uuid not null,
    generation integer not null check (generation >= 0),
    session_id uuid not null references auth.sessions (id) on delete cascade,
    bound_tenant uuid,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    revoked_at timestamptz,
    -- A chain cannot fork: each generation exists once.
    constraint refresh_tokens_generation_key unique (family_id, generation)
);
-- At most one live leaf per family, and one per session and tenant, whatever the service does.
create unique index refresh_tokens_live_leaf on auth.refresh_tokens (family_id) where used_at is null and revoked_at is null;
create unique index refresh_tokens_live_chain on auth.refresh_tokens (session_id, bound_tenant) nulls not distinct
    where used_at is null and revoked_at is null;
create index refresh_tokens_expires on auth.refresh_tokens (expires_at);

-- Sign-in attempts that have not led to a session, by keyed hashes of account and network.
create table auth.login_attempts (
    key bytea primary key,
    attempts integer not null,
    window_ends_at timestamptz not null,
    blocked_until timestamptz
);
create index login_attempts_window on auth.login_attempts (window_ends_at);

-- Mail to send. Holds ids; the address is read and the token is derived when the mail is written.
create table auth.mails (
    id uuid primary key,
    kind text not null check (kind in ('verify_email', 'already_registered', 'tenant_owner')),
    user_id uuid not null references auth.users (id),
    verification_id uuid references auth.email_verifications (id) on delete cascade,
    tenant_name text,
    created_at timestamptz not null,
    attempts integer not null default 0,
    next_attempt_at timestamptz not null,
    sent_at timestamptz
);
create index mails_due on auth.mails (next_attempt_at) where sent_at is null;
create index mails_user on auth.mails (user_id, created_at desc);

-- What makes a cached context stale, in commit order.
create table auth.access_changes (
    seq bigint generated always as identity primary key,
    about_tenant uuid,
    about_actor uuid,
    about_session uuid,
    created_at timestamptz not null
);

-- Sequence numbers are handed out before commit, so without the lock a reader could see 8 while 7 is not yet visible, and never
-- come back for 7. The lock is held to the end of the transaction: call this last.
create function auth.record_access_change(p_tenant uuid, p_actor uuid, p_session uuid, p_now timestamptz) returns bigint
language plpgsql as $$
declare
    v_seq bigint;
begin
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('auth.access_changes', 0));
    insert into auth.access_changes (about_tenant, about_actor, about_session, created_at)
        values (p_tenant, p_actor, p_session, p_now) returning seq into v_seq;
    perform pg_catalog.pg_notify('auth_access_changes', v_seq::text);
    return v_seq;
end $$;

grant select, insert on auth.users to auth_app;
grant update (name, locale, status, suspended_reason, email_verified_at, platform_role, last_tenant, updated_at) on auth.users to auth_app;
grant select, insert on auth.credentials to auth_app;
grant update (password_hash, updated_at) on auth.credentials to auth_app;
grant select, insert, delete on auth.email_verifications to auth_app;
grant update (used_at, expires_at) on auth.email_verifications to auth_app;
grant select, insert, delete on auth.sessions to auth_app;
grant update (revoked_at, revoked_reason, last_tenant) on auth.sessions to auth_app;
grant select, insert, delete on auth.refresh_tokens to auth_app;
grant update (used_at, revoked_at) on auth.refresh_tokens to auth_app;
grant select, insert, delete on auth.login_attempts to auth_app;
grant update (attempts, window_ends_at, blocked_until) on auth.login_attempts to auth_app;
grant select, insert, delete on auth.mails to auth_app;
grant update (attempts, next_attempt_at, sent_at) on auth.mails to auth_app;
grant select, insert, delete on auth.access_changes to auth_app;
grant execute on function auth.record_access_change to auth_app;

-- The gate wants a tenant in every table; these have none by design.
select app.except_from_gate('R1', 'auth.' || name, 'one identity per person over all tenants: ' || reason, date '2028-12-31')
from (values
    ('users', 'a person exists before and beyond any tenant'),
    ('credentials', 'a password belongs to the person'),
    ('email_verifications', 'an address is confirmed before any tenant is known'),
    ('sessions', 'a session outlives the choice of a tenant'),
    ('refresh_tokens', 'found by their hash, before any tenant is known'),
    ('login_attempts', 'counted before anybody has signed in'),
    ('mails', 'mail to a person about the identity'),
    ('access_changes', 'read by the gateway for all tenants, ids only')
) as t (name, reason);

-- The first change matches everything, and there is always a newest one: a reader can tell "nothing since" from "swept".
insert into auth.access_changes (created_at) values (now());
