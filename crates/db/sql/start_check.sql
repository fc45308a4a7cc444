-- The part of the catalogue gate that a runtime role can run: on the tables of its own schema ($1), with the rights of its own session.
-- One line with all findings, or null. No exceptions: what is asked here has none.
with
  t as (
    select c.oid, c.oid::regclass::text as name, c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relispartition,
           a.attnum as tenant_column, a.attnotnull as tenant_not_null
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = $1
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
    where c.relkind in ('r', 'p')
  ),
  canonical as (select '(tenant_id = ( SELECT app.tid() AS tid))'::text as expression),
  findings as (
    select 'R2' as rule, t.name, 'tenant_id may be null' as problem from t where not t.tenant_not_null
    union all
    select 'R3', t.name, 'row level security is not enabled; call app.protect in a migration'
    from t where not t.relrowsecurity
    union all
    select 'R4', t.name, 'row level security is not forced; call app.protect in a migration'
    from t where not t.relforcerowsecurity or not pg_catalog.row_security_active(t.oid)
    union all
    select 'R5', t.name, 'no permissive policy for everybody covers every command'
    from t
    where exists (
      select from (values ('r'), ('a'), ('w'), ('d')) as k (code)
      where not exists (select from pg_catalog.pg_policy p
                        where p.polrelid = t.oid and p.polpermissive and p.polcmd in ('*', k.code::"char") and 0 = any(p.polroles)))
    union all
    select 'R6', t.name, 'policy ' || p.polname || ' is not the canonical one'
    from t join pg_catalog.pg_policy p on p.polrelid = t.oid cross join canonical c
    where (coalesce(pg_catalog.pg_get_expr(p.polqual, p.polrelid), c.expression) <> c.expression
        or coalesce(pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), c.expression) <> c.expression)
      and not (t.relname in ('outbox', 'outbox_published') and p.polname = 'relay'
               and p.polroles = array(select r.oid from pg_catalog.pg_roles r where r.rolname = $1 || '_relay'))
    union all
    select 'R9', t.name, 'the partition can be reached past its parent''s policy'
    from t
    where t.relispartition
      and (pg_catalog.has_table_privilege(t.oid, 'select, insert, update, delete')
        or pg_catalog.has_any_column_privilege(t.oid, 'select, insert, update'))
    union all
    select 'R16', t.name, 'the role may TRUNCATE, REFERENCE or TRIGGER'
    from t
    where pg_catalog.has_table_privilege(t.oid, 'truncate, references, trigger') or pg_catalog.has_any_column_privilege(t.oid, 'references')
    union all
    select 'R17', t.name, 'the role may change tenant_id'
    from t where pg_catalog.has_column_privilege(t.oid, t.tenant_column, 'update')
  )
select string_agg(f.rule || ' ' || f.name || ': ' || f.problem, '; ' order by f.rule, f.name) from findings f
