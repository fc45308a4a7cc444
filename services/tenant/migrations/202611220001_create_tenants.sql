-- Tenants, the catalogue that entitles them, and the audit log.
select app.install_service_tables('tenant');

-- The catalogue is the same for every tenant: it has no tenant_id and no row-level security.
create table tenant.tools (
    key        text primary key,
    name       jsonb       not null,
    status     text        not null default 'active' check (status in ('active', 'retired')),
    updated_at timestamptz not null
);

create table tenant.tool_actions (
    key         text primary key,
    tool_key    text        not null constraint fk_tool_actions_tool_key references tenant.tools (key),
    name        jsonb       not null,
    description jsonb       not null,
    status      text        not null default 'active' check (status in ('active', 'retired')),
    updated_at  timestamptz not null
);
create index idx_tool_actions_tool_key on tenant.tool_actions (tool_key);

create table tenant.packages (
    key        text primary key,
    name       jsonb       not null,
    status     text        not null default 'active' check (status in ('active', 'retired')),
    updated_at timestamptz not null
);

create table tenant.package_actions (
    package_key text not null constraint fk_package_actions_package_key references tenant.packages (key),
    action_key  text not null constraint fk_package_actions_action_key references tenant.tool_actions (key),
    primary key (package_key, action_key)
);
create index idx_package_actions_action_key on tenant.package_actions (action_key);

-- One row: the digest of the catalogue that was seeded last, so that a second seed is one read.
create table tenant.seed_history (
    name       text primary key,
    digest     text        not null,
    applied_at timestamptz not null
);

select app.except_from_gate('R1', 'tenant.' || t, 'the catalogue is the same for every tenant', '2028-01-01')
from unnest(array['tools', 'tool_actions', 'packages', 'package_actions', 'seed_history']) as t;

grant select, insert, update on tenant.tools, tenant.tool_actions, tenant.packages, tenant.seed_history to tenant_app;
grant select, insert, delete on tenant.package_actions to tenant_app;

create table tenant.tenants (
    tenant_id        uuid primary key,
    slug             text        not null,
    name             text        not null,
    status           text        not null default 'active' check (status in ('active', 'suspended')),
    suspended_reason text,
    -- Grows with every change; auth ignores news that is older than what it has.
    version          bigint      not null default 1,
    created_at       timestamptz not null,
    updated_at       timestamptz not null,
    -- Unique over the platform on purpose: the slug is the subdomain.
    constraint tenants_slug_key unique (slug),
    constraint tenants_status_reason_check check ((status = 'suspended') = (suspended_reason is not null))
);
select app.protect('tenant.tenants');
select app.except_from_gate(rule, 'tenant.tenants_slug_key', 'the slug is the subdomain, so it is unique over the platform', '2028-01-01')
from unnest(array['R11', 'R12']) as rule;
grant select, insert on tenant.tenants to tenant_app;
grant update (name, status, suspended_reason, version, updated_at) on tenant.tenants to tenant_app;

create table tenant.tenant_packages (
    tenant_id   uuid        not null constraint fk_tenant_packages_tenant_id references tenant.tenants (tenant_id),
    package_key text        not null constraint fk_tenant_packages_package_key references tenant.packages (key),
    status      text        not null default 'active' check (status in ('active', 'ended')),
    assigned_at timestamptz not null,
    expires_at  timestamptz,
    primary key (tenant_id, package_key)
);
-- The foreign key is looked up by package only when a package is retired, which is an operator's act; tenant comes first all the same.
create index idx_tenant_packages_package_key on tenant.tenant_packages (tenant_id, package_key, status);
select app.protect('tenant.tenant_packages');
grant select, insert on tenant.tenant_packages to tenant_app;
grant update (status, expires_at) on tenant.tenant_packages to tenant_app;

-- Append-only: the runtime role can neither change nor delete a row.
create table tenant.audit_logs (
    tenant_id   uuid        not null,
    id          uuid        not null,
    created_at  timestamptz not null,
    actor_type  text        not null,
    actor_id    uuid,
    action      text        not null,
    entity_type text        not null,
    entity_id   text        not null,
    metadata    jsonb       not null,
    request_id  text        not null,
    trace_id    text        not null,
    ip          text        not null,
    user_agent  text        not null,
    primary key (tenant_id, id)
);
create index idx_audit_logs_created_at on tenant.audit_logs (tenant_id, created_at desc, id desc);
create index idx_audit_logs_actor_id on tenant.audit_logs (tenant_id, actor_id, created_at desc);
create index idx_audit_logs_action on tenant.audit_logs (tenant_id, action, created_at desc);
select app.protect('tenant.audit_logs');
grant select, insert on tenant.audit_logs to tenant_app;
