-- The catalogue gate: one row per violation of what keeps tenants apart. Read-only; owners and superusers may run it; set search_path = '' first.
--
-- R1 to R17 follow SECURITY.md 3.8. R0 reports an exception that has ended. Exceptions live in app.gate_exceptions, each with a reason and an end.
with
  -- A schema that nobody registered is examined too.
  schemas as (
    select n.oid, n.nspname as name from pg_namespace n
    where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'ext')
  ),
  runtime as (
    select r.oid, r.rolname as name, s.name as service, r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb, r.rolreplication
    from pg_roles r join app.services s on r.rolname in (s.name || '_app', s.name || '_relay')
  ),
  rel as (
    select c.oid, s.name as schema, s.name || '.' || c.relname as name, c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity,
           c.relowner, c.reloptions, c.relispartition
    from pg_class c join schemas s on s.oid = c.relnamespace
  ),
  t as (
    select rel.*, a.attnum as tenant_column, a.attnotnull as tenant_not_null
    from rel left join pg_attribute a on a.attrelid = rel.oid and a.attname = 'tenant_id' and not a.attisdropped
    where rel.relkind in ('r', 'p')
  ),
  -- `canonical` is the one expression that a policy may have.
  canonical as (select '(tenant_id = ( SELECT app.tid() AS tid))'::text as expression),
  findings as (
    select 'R1' as rule, t.name as object, 'a runtime role reaches it, and it has no tenant_id' as problem
    from t
    where t.tenant_column is null
      and exists (select from runtime r where has_table_privilege(r.oid, t.oid, 'select, insert, update, delete')
                                           or has_any_column_privilege(r.oid, t.oid, 'select, insert, update'))
    union all
    select 'R2', t.name, 'tenant_id may be null' from t where t.tenant_column is not null and not t.tenant_not_null
    union all
    select 'R3', t.name, 'row level security is not enabled' from t where t.tenant_column is not null and not t.relrowsecurity
    union all
    select 'R4', t.name, 'row level security is not forced' from t where t.tenant_column is not null and not t.relforcerowsecurity
    union all
    select 'R5', t.name, 'no permissive policy for everybody covers ' || k.command
    from t cross join (values ('r', 'select'), ('a', 'insert'), ('w', 'update'), ('d', 'delete')) as k (code, command)
    where t.tenant_column is not null
      and not exists (select from pg_policy p
                      where p.polrelid = t.oid and p.polpermissive and p.polcmd in ('*', k.code::"char") and 0 = any(p.polroles))
    union all
    select 'R6', t.name, 'policy ' || p.polname || ' is not the canonical one'
    from t join pg_policy p on p.polrelid = t.oid cross join canonical c
    where (coalesce(pg_get_expr(p.polqual, p.polrelid), c.expression) <> c.expression
        or coalesce(pg_get_expr(p.polwithcheck, p.polrelid), c.expression) <> c.expression)
      -- The relay reads every tenant's events: its own policy, for its own role, on the outbox and what was published of it.
      and not (t.relname in ('outbox', 'outbox_published') and p.polname = 'relay'
               and p.polroles = array(select r.oid from runtime r where r.name = t.schema || '_relay'))
    union all
    select 'R7', rel.name, 'a view without security_invoker shows what its owner sees' from rel
    where rel.relkind = 'v'
      and not coalesce(array['security_invoker=true', 'security_invoker=on', 'security_invoker=1'] && rel.reloptions, false)
    union all
    select 'R8', rel.name, 'a materialized view has no row level security, and ' || r.name || ' can read it'
    from rel cross join runtime r
    -- A foreign table has none either.
    where rel.relkind in ('m', 'f') and (has_table_privilege(r.oid, rel.oid, 'select') or has_any_column_privilege(r.oid, rel.oid, 'select'))
    union all
    select 'R9', rel.name, r.name || ' reaches the partition past its parent''s policy'
    from rel cross join runtime r
    where rel.relispartition
      and (has_table_privilege(r.oid, rel.oid, 'select, insert, update, delete') or has_any_column_privilege(r.oid, rel.oid, 'select, insert, update'))
    union all
    select 'R10', t.name, 'foreign key ' || con.conname || ' does not carry tenant_id'
    from pg_constraint con join t on t.oid = con.conrelid join t as f on f.oid = con.confrelid
    where con.contype = 'f' and t.tenant_column is not null and f.tenant_column is not null
      and not exists (select from unnest(con.conkey, con.confkey) as k (here, there)
                      where k.here = t.tenant_column and k.there = f.tenant_column)
    union all
    select 'R11', i.indexrelid::regclass::text, 'the unique index of ' || t.name || ' does not contain tenant_id'
    from pg_index i join t on t.oid = i.indrelid
    -- Columns that an index only includes are no part of what is unique.
    where i.indisunique and t.tenant_column is not null and not (t.tenant_column = any((i.indkey::int2[])[0:i.indnkeyatts - 1]))
      -- An id that nobody chooses gives nothing away.
      and not (i.indisprimary and i.indnkeyatts = 1
               and exists (select from pg_attribute a where a.attrelid = t.oid and a.attnum = i.indkey[0]
                                                        and (a.atttypid = 'uuid'::regtype or a.attidentity <> '')))
    union all
    select 'R12', i.indexrelid::regclass::text, 'the index of ' || t.name || ' does not begin with tenant_id'
    from pg_index i join pg_class ic on ic.oid = i.indexrelid join pg_am am on am.oid = ic.relam join t on t.oid = i.indrelid
    where am.amname = 'btree' and not (i.indisprimary and i.indnkeyatts = 1) and t.tenant_column is not null and i.indkey[0] <> t.tenant_column
    union all
    select 'R13', s.name || '.' || p.proname,
           case when r.rolname <> s.name || '_definer' then 'a security definer function is owned by ' || r.rolname
                when has_function_privilege('public', p.oid, 'execute') then 'everybody may execute a security definer function'
                else 'a security definer function has no pinned search_path' end
    from pg_proc p join schemas s on s.oid = p.pronamespace join pg_roles r on r.oid = p.proowner
    where p.prosecdef
      and (r.rolname <> s.name || '_definer' or has_function_privilege('public', p.oid, 'execute')
           or not exists (select from unnest(p.proconfig) as c (setting) where c.setting in ('search_path=', 'search_path=""', 'search_path=pg_catalog')))
    union all
    select 'R14', r.name, 'a runtime role is superuser, has BYPASSRLS, may create roles or databases or replicate, owns a relation, or may create one'
    from runtime r
    where r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication or exists (select from rel where rel.relowner = r.oid)
       or exists (select from schemas s where has_schema_privilege(r.oid, s.oid, 'create'))
    union all
    select 'R15', r.name, 'a runtime role is a member of ' || m.rolname
    from runtime r join pg_roles m on m.oid <> r.oid and not r.rolsuper and pg_has_role(r.oid, m.oid, 'member')
    -- Of any: a role that is harmless today may be given more tomorrow, and PostgreSQL's own ones read and write everything.
    union all
    select 'R16', t.name, r.name || ' may TRUNCATE, REFERENCE or TRIGGER'
    from t cross join runtime r
    where has_table_privilege(r.oid, t.oid, 'truncate, references, trigger') or has_any_column_privilege(r.oid, t.oid, 'references')
    union all
    select 'R17', t.name, r.name || ' may change tenant_id'
    from t cross join runtime r
    where t.tenant_column is not null and has_column_privilege(r.oid, t.oid, t.tenant_column, 'update')
    union all
    -- One service's roles have nothing in another's schema: any service must be able to move to its own server.
    select 'R18', rel.name, r.name || ' has rights in another service''s schema'
    from rel cross join runtime r
    where rel.relkind in ('r', 'p', 'v', 'm') and rel.schema <> r.service and rel.schema <> 'app'
      and (has_table_privilege(r.oid, rel.oid, 'select, insert, update, delete') or has_any_column_privilege(r.oid, rel.oid, 'select, insert, update'))
    union all
    select 'R18', s.name || '.' || p.proname, r.name || ' may execute a function of another service''s schema'
    from pg_proc p join schemas s on s.oid = p.pronamespace cross join runtime r
    where s.name not in (r.service, 'app') and has_function_privilege(r.oid, p.oid, 'execute')
  )
select f.rule, f.object, f.problem from findings f
where not exists (
  select from app.gate_exceptions e
  where e.rule = f.rule and e.expires_on > current_date
    -- An exception may name the table for all its indexes.
    and e.object in (f.object, (select i.indrelid::regclass::text from pg_index i
                                where f.rule in ('R11', 'R12') and i.indexrelid = to_regclass(f.object))))
union all
select 'R0', e.object, 'the exception from ' || e.rule || ' ended on ' || e.expires_on from app.gate_exceptions e where e.expires_on <= current_date
order by 1, 2, 3
