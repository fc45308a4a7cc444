-- Platform staff lists all tenants, and the catalogue seed refreshes all of them: the two look-ups that cross tenants.
-- They read the tenant directory only, never a tenant's data. Row-level security does not apply inside because the
-- owner of the functions is a role that nobody can log in as.
create function tenant.directory(
    status_wanted text,
    pattern       text,
    created_from  timestamptz,
    created_to    timestamptz,
    after_time    timestamptz,
    after_id      uuid,
    newest_first  boolean,
    rows_wanted   bigint
) returns table (
    tenant_id uuid, slug text, name text, status text, suspended_reason text,
    version bigint, created_at timestamptz, updated_at timestamptz, package_keys text[]
)
language sql stable
as $$
    select t.tenant_id, t.slug, t.name, t.status, t.suspended_reason, t.version, t.created_at, t.updated_at,
           array(select p.package_key from tenant.tenant_packages p
                 where p.tenant_id = t.tenant_id and p.status = 'active' order by p.package_key)
    from tenant.tenants t
    where (status_wanted = '' or t.status = status_wanted)
      and (pattern = '' or strpos(lower(t.name), lower(pattern)) > 0 or strpos(t.slug, lower(pattern)) > 0)
      and (created_from is null or t.created_at >= created_from)
      and (created_to is null or t.created_at < created_to)
      and (after_id is null
           or (newest_first and (t.created_at, t.tenant_id) < (after_time, after_id))
           or (not newest_first and (t.created_at, t.tenant_id) > (after_time, after_id)))
    order by case when newest_first then t.created_at end desc,
             case when newest_first then t.tenant_id end desc,
             t.created_at, t.tenant_id
    limit rows_wanted
$$;
grant select on tenant.tenants, tenant.tenant_packages to tenant_definer;
select app.run_as_definer('tenant.directory(text, text, timestamptz, timestamptz, timestamptz, uuid, boolean, bigint)');
