-- What auth keeps of each tenant: who belongs to it, in which groups, and what the tenant service says of it.

-- A projection of the tenant service's tenants; `version` is theirs and only grows.
create table auth.tenants (
    tenant_id uuid primary key,
    slug text not null,
    name text not null,
    status text not null check (status in ('active', 'suspended')),
    entitled_actions text[] not null,
    version bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create table auth.memberships (
    tenant_id uuid not null references auth.tenants (tenant_id),
    user_id uuid not null references auth.users (id),
    status text not null default 'active' check (status in ('active', 'suspended')),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (tenant_id, user_id)
);
-- "Which tenants is this person in?" is asked before a tenant is known, by `auth.memberships_of` alone.
create index memberships_user on auth.memberships (user_id);

create table auth.groups (
    tenant_id uuid not null references auth.tenants (tenant_id),
    id uuid not null,
    -- The role of a built-in group; null in a custom one. What a role means is in roles.yaml.
    role text check (role in ('owner', 'admin', 'analyst', 'viewer', 'attendant')),
    name text not null,
    status text not null default 'active' check (status in ('active', 'suspended')),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (tenant_id, id),
    constraint groups_role_key unique (tenant_id, role),
    constraint groups_name_key unique (tenant_id, name)
);

create table auth.group_members (
    tenant_id uuid not null,
    group_id uuid not null,
    user_id uuid not null,
    created_at timestamptz not null,
    primary key (tenant_id, group_id, user_id),
    foreign key (tenant_id, group_id) references auth.groups (tenant_id, id),
    foreign key (tenant_id, user_id) references auth.memberships (tenant_id, user_id) on delete cascade
);
create index group_members_user on auth.group_members (tenant_id, user_id);

-- Permissions of custom groups.
create table auth.group_permissions (
    tenant_id uuid not null,
    group_id uuid not null,
    action text not null,
    -- Limits of the permission. One that has limits grants nothing until the limits can be enforced where the action happens.
    constraints jsonb,
    created_at timestamptz not null,
    primary key (tenant_id, group_id, action),
    foreign key (tenant_id, group_id) references auth.groups (tenant_id, id) on delete cascade
);

select app.protect('auth.tenants');
select app.protect('auth.memberships');
select app.protect('auth.groups');
select app.protect('auth.group_members');
select app.protect('auth.group_permissions');

grant select, insert on auth.tenants to auth_app;
grant update (slug, name, status, entitled_actions, version, updated_at) on auth.tenants to auth_app;
grant select, insert, delete on auth.memberships to auth_app;
grant update (status, updated_at) on auth.memberships to auth_app;
grant select, insert, delete on auth.groups to auth_app;
grant update (name, status, updated_at) on auth.groups to auth_app;
grant select, insert, delete on auth.group_members to auth_app;
grant select, insert, delete on auth.group_permissions to auth_app;

-- The lookups that precede a tenant. They run as auth_definer, which sees all tenants and may read, and lock, just these tables.
grant select on auth.tenants, auth.memberships, auth.groups, auth.group_members, auth.group_permissions to auth_definer;
-- PostgreSQL asks for an update right before it lets anybody lock a row; no function here updates.
grant update (updated_at) on auth.tenants, auth.memberships to auth_definer;

-- The tenants that a person belongs to, oldest membership first.
create function auth.memberships_of(p_user uuid)
returns table (tenant_id uuid, slug text, name text, tenant_status text, status text, roles text[], created_at timestamptz)
language sql stable as $$
    select m.tenant_id, t.slug, t.name, t.status, m.status,
        array(
            select g.role from auth.group_members gm join auth.groups g on g.tenant_id = gm.tenant_id and g.id = gm.group_id
            where gm.tenant_id = m.tenant_id and gm.user_id = m.user_id and g.role is not null and g.status = 'active'
            order by g.role),
        m.created_at
    from auth.memberships m join auth.tenants t on t.tenant_id = m.tenant_id
    where m.user_id = p_user
    order by m.created_at, m.tenant_id
    limit 200
$$;
select app.run_as_definer('auth.memberships_of(uuid)');

-- What decides about a person's access to one tenant. No row when the tenant does not exist; `membership_status` is null for strangers.
create function auth.access_of(p_user uuid, p_tenant uuid)
returns table (tenant_status text, membership_status text, roles text[], granted text[], entitled text[])
language sql stable as $$
    select t.status, m.status,
        array(
            select g.role from auth.group_members gm join auth.groups g on g.tenant_id = gm.tenant_id and g.id = gm.group_id
            where gm.tenant_id = p_tenant and gm.user_id = p_user and g.role is not null and g.status = 'active'),
        array(
            select distinct gp.action from auth.group_members gm
                join auth.groups g on g.tenant_id = gm.tenant_id and g.id = gm.group_id and g.status = 'active'
                join auth.group_permissions gp on gp.tenant_id = gm.tenant_id and gp.group_id = gm.group_id
            where gm.tenant_id = p_tenant and gm.user_id = p_user and gp.constraints is null),
        t.entitled_actions
    from auth.tenants t left join auth.memberships m on m.tenant_id = t.tenant_id and m.user_id = p_user
    where t.tenant_id = p_tenant
$$;
select app.run_as_definer('auth.access_of(uuid, uuid)');

-- The same, with the tenant and the membership held until the end of the transaction: a suspension either comes before and is
-- seen, or waits. What is minted under these locks can therefore not outrun it.
create function auth.hold_access_of(p_user uuid, p_tenant uuid)
returns table (tenant_status text, membership_status text)
language plpgsql volatile as $$
begin
    perform 1 from auth.tenants t where t.tenant_id = p_tenant for share;
    perform 1 from auth.memberships m where m.tenant_id = p_tenant and m.user_id = p_user for share;
    return query
        select t.status, m.status
        from auth.tenants t left join auth.memberships m on m.tenant_id = t.tenant_id and m.user_id = p_user
        where t.tenant_id = p_tenant;
end $$;
select app.run_as_definer('auth.hold_access_of(uuid, uuid)');

select app.except_from_gate('R12', 'auth.memberships',
    'finds the tenants of a person before any tenant is known; only a definer function reads by it', date '2028-12-31');
