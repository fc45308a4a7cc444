-- Prepares a database for every service. Run by a superuser, once per database; running it again changes nothing.
--
-- What a service may do is decided here and in its own migrations, never by the service itself.

do $$
begin
  execute format('revoke all on database %I from public', current_database());
end $$;
revoke all on schema public from public;

create schema if not exists app;
create schema if not exists ext;
create extension if not exists vector schema ext;
create extension if not exists pg_trgm schema ext;
create extension if not exists btree_gin schema ext;

-- The services of this database: the gate learns from here which roles are runtime roles.
create table if not exists app.services (
  name text primary key check (name ~ '^[a-z][a-z0-9_]{0,39}$')
);

-- What the catalogue gate lets pass. Each entry says why, and ends.
create table if not exists app.gate_exceptions (
  rule text not null,
  object text not null,
  reason text not null check (length(reason) >= 20),
  expires_on date not null,
  primary key (rule, object)
);

-- Raises, because "no rows" would look like "no data" to a user. Its type is text, so that it fits into coalesce() below.
create or replace function app.no_tenant() returns text
language plpgsql stable parallel safe as $$
begin
  raise exception 'tenant context missing' using errcode = '42501',
    hint = 'every statement on a tenant table runs within Db::tenant or Db::across_tenants';
end $$;

-- The tenant of the transaction. After a transaction the setting reads '' rather than null, hence nullif.
-- SQL rather than PL/pgSQL: it is inlined, and spares a fresh connection the first call's millisecond.
create or replace function app.tid() returns uuid
language sql stable parallel safe as $$
  select coalesce(nullif(current_setting('app.tenant_id', true), ''), app.no_tenant())::uuid
$$;

-- Puts a table that has a tenant_id under row level security with the canonical policy.
create or replace function app.protect(t regclass) returns void
language plpgsql set search_path = '' set client_min_messages = warning as $$
begin
  execute format('alter table %s enable row level security', t);
  execute format('alter table %s force row level security', t);
  execute format('drop policy if exists t on %s', t);
  execute format('create policy t on %s using (tenant_id = (select app.tid())) with check (tenant_id = (select app.tid()))', t);
  perform app.plan_for_large_tenants(t);
end $$;

-- Plans are made for everybody and cached, so they are made for a tenant that has a fiftieth of the table. Counted, thousands of small tenants would
-- make any index that begins with the tenant look as good as the key, and a read of one record in a large tenant would walk through all of them.
-- Takes effect with the next ANALYZE.
create or replace function app.plan_for_large_tenants(t regclass) returns void
language plpgsql set search_path = '' as $$
begin
  execute format('alter table %s alter column tenant_id set (n_distinct = 50)', t);
end $$;

-- Notes a reviewed exception from a rule of the catalogue gate. `object` is what the gate reports, for example `auth.users`.
create or replace function app.except_from_gate(rule text, object text, reason text, expires_on date) returns void
language sql set search_path = '' as $$
  insert into app.gate_exceptions as e (rule, object, reason, expires_on) values ($1, $2, $3, $4)
  on conflict (rule, object) do update set reason = excluded.reason, expires_on = excluded.expires_on
$$;

-- Hands a function to the schema's definer role, which sees all tenants. Called by the owner's migration after `create function ... security definer`.
-- The definer needs CREATE on the schema only for this moment.
create or replace function app.run_as_definer(f regprocedure) returns void
language plpgsql set search_path = '' as $$
declare
  schema_name text := (select n.nspname from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace where p.oid = f);
begin
  execute format('alter function %s security definer set search_path = %L', f, '');
  execute format('revoke all on function %s from public', f);
  execute format('grant execute on function %s to %I', f, schema_name || '_app');
  execute format('grant create on schema %I to %I', schema_name, schema_name || '_definer');
  execute format('alter function %s owner to %I', f, schema_name || '_definer');
  execute format('revoke create on schema %I from %I', schema_name, schema_name || '_definer');
end $$;

-- Creates the tables that db keeps in every service's schema. Called by the owner in its first migration.
create or replace function app.install_service_tables(s text) returns void
language plpgsql set search_path = '' as $$
declare
  app_role text := s || '_app';
  relay_role text := s || '_relay';
  definer_role text := s || '_definer';
begin
  execute format('grant usage on schema %I to %I, %I, %I', s, app_role, relay_role, definer_role);

  -- The queue of events that the relay empties. The primary key is `seq` alone: the relay reads all tenants in that order, the service only inserts.
  execute format($sql$
    create table %1$I.outbox (
      seq bigint generated always as identity primary key,
      tenant_id uuid not null,
      id uuid not null,
      type text not null,
      subject text not null,
      envelope jsonb not null
    ) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
            autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000)
  $sql$, s);
  perform app.protect(format('%I.outbox', s)::regclass);
  execute format('create policy relay on %I.outbox to %I using (true)', s, relay_role);
  execute format('grant insert on %I.outbox to %I', s, app_role);
  -- Inserting is for events that an operator has published again.
  execute format('grant select, insert, delete on %I.outbox to %I', s, relay_role);

  -- What the broker has confirmed, for a while: an operator publishes it again when a queue was lost. A table of its own keeps the queue
  -- above as short as what waits. In the order of publication, so that both ends of a time are found without an index on it.
  execute format($sql$
    create table %1$I.outbox_published (
      seq bigint generated always as identity primary key,
      tenant_id uuid not null,
      id uuid not null,
      type text not null,
      subject text not null,
      envelope jsonb not null,
      published_at timestamptz not null
    )
  $sql$, s);
  perform app.protect(format('%I.outbox_published', s)::regclass);
  execute format('create policy relay on %I.outbox_published to %I using (true)', s, relay_role);
  execute format('grant select, insert, delete on %I.outbox_published to %I', s, relay_role);

  -- Which events a consumer has applied: an event that comes twice has one effect.
  execute format($sql$
    create table %1$I.inbox (
      tenant_id uuid not null,
      consumer text not null,
      event_id uuid not null,
      received_at timestamptz not null,
      primary key (tenant_id, consumer, event_id)
    )
  $sql$, s);
  execute format('create index inbox_received_at_idx on %I.inbox using brin (received_at)', s);
  perform app.protect(format('%I.inbox', s)::regclass);
  execute format('grant select, insert on %I.inbox to %I', s, app_role);

  -- One row per Idempotency-Key: written with the effect, in one transaction. `response` is the encoded answer.
  execute format($sql$
    create table %1$I.idempotency_keys (
      tenant_id uuid not null,
      actor_id uuid not null,
      handler text not null,
      key text not null,
      fingerprint bytea not null,
      response bytea,
      expires_at timestamptz not null,
      primary key (tenant_id, actor_id, handler, key)
    ) with (fillfactor = 70)
  $sql$, s);
  execute format('create index idempotency_keys_expires_at_idx on %I.idempotency_keys using brin (expires_at)', s);
  perform app.protect(format('%I.idempotency_keys', s)::regclass);
  execute format('grant select, insert, delete on %I.idempotency_keys to %I', s, app_role);
  execute format('grant update (fingerprint, response, expires_at) on %I.idempotency_keys to %I', s, app_role);

  -- Removes what has expired, of all tenants, at most `batch` rows of each table; answers how many.
  execute format($sql$
    create function %1$I.sweep_expired(now timestamptz, inbox_days int, published_hours int, batch int) returns bigint language plpgsql as $body$
    declare
      keys bigint;
      events bigint;
      published bigint;
    begin
      delete from %1$I.idempotency_keys where ctid = any(array(
        select ctid from %1$I.idempotency_keys where expires_at <= $1 limit $4));
      get diagnostics keys = row_count;
      delete from %1$I.inbox where ctid = any(array(
        select ctid from %1$I.inbox where received_at <= $1 - make_interval(days => $2) limit $4));
      get diagnostics events = row_count;
      -- The first rows are the oldest; without this limit inside, a sweep with nothing to do would read the whole table.
      delete from %1$I.outbox_published where seq = any(array(
        select o.seq from (select seq, published_at from %1$I.outbox_published order by seq limit $4) as o
        where o.published_at <= $1 - make_interval(hours => $3)));
      get diagnostics published = row_count;
      return keys + events + published;
    end $body$
  $sql$, s);
  execute format('grant select, delete on %1$I.idempotency_keys, %1$I.inbox, %1$I.outbox_published to %2$I', s, definer_role);
  perform app.run_as_definer(format('%I.sweep_expired(timestamptz,int,int,int)', s)::regprocedure);
end $$;

-- Creates the four roles and the schema of one service, or sets their passwords anew. For superusers: nobody else can create roles.
create or replace function app.create_service(service text, owner_password text, app_password text, relay_password text) returns void
language plpgsql set search_path = '' as $$
declare
  o text := service || '_owner';
  a text := service || '_app';
  r text := service || '_relay';
  d text := service || '_definer';
  name text;
begin
  insert into app.services (name) values (service) on conflict do nothing;
  foreach name in array array[o, a, r, d] loop
    if not exists (select from pg_catalog.pg_roles where rolname = name) then
      execute format('create role %I', name);
    end if;
  end loop;
  execute format('alter role %I login noinherit nosuperuser nobypassrls nocreaterole nocreatedb noreplication password %L', o, owner_password);
  execute format('alter role %I login nosuperuser nobypassrls nocreaterole nocreatedb noreplication password %L', a, app_password);
  execute format('alter role %I login nosuperuser nobypassrls nocreaterole nocreatedb noreplication password %L', r, relay_password);
  -- Owns the few functions that must see all tenants (a lookup by e-mail before sign-in). Nobody can log in as it.
  execute format('alter role %I nologin nosuperuser bypassrls nocreaterole nocreatedb noreplication', d);
  execute format('grant %I to %I', d, o);

  foreach name in array array[o, a, r, d] loop
    execute format('grant connect on database %I to %I', current_database(), name);
    execute format('grant usage on schema app, ext to %I', name);
    execute format('alter role %I set search_path = %L', name, '');
    execute format('alter role %I set row_security = on', name);
  end loop;
  -- A service reads by keys. Plans are kept, and one made while a table fits on a page would read all of it for each row when it no longer does.
  -- Planning a statement anew, for a table in partitions say, takes longer than running it, and so does compiling its plan.
  execute format('alter role %I set enable_seqscan = off', a);
  execute format('alter role %I set plan_cache_mode = force_generic_plan', a);
  execute format('alter role %I set jit = off', a);
  foreach name in array array[a, r] loop
    execute format('alter role %I set statement_timeout = %L', name, '5s');
    execute format('alter role %I set lock_timeout = %L', name, '2s');
    execute format('alter role %I set idle_in_transaction_session_timeout = %L', name, '10s');
  end loop;

  execute format('create schema if not exists %I authorization %I', service, o);
  execute format('revoke all on schema %I from public', service);
  execute format('grant usage on schema %I to %I, %I, %I', service, a, r, d);
  execute format('alter default privileges for role %I revoke execute on functions from public', o);
  execute format('grant select, insert, update on app.gate_exceptions to %I', o);
  execute format('grant select on app.services to %I', o);
  execute format('grant execute on function app.tid(), app.no_tenant() to %I, %I, %I, %I', o, a, r, d);
  execute format('grant execute on function app.protect(regclass), app.plan_for_large_tenants(regclass), app.run_as_definer(regprocedure), app.install_service_tables(text), app.except_from_gate(text, text, text, date) to %I', o);
end $$;

revoke all on all functions in schema app from public;
revoke all on all tables in schema app from public;
