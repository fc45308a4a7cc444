-- `app.protect` says it for new tables; these are the ones from before. Analysed at once, because a table that rests is never analysed by itself; not
-- when empty, where a plan made for no rows would not even ask for the tenant.
do $$
declare
  t regclass;
begin
  for t in
    select c.oid from pg_catalog.pg_class c join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
    where c.relnamespace = 'auth'::regnamespace and c.relkind in ('r', 'p')
  loop
    perform app.plan_for_large_tenants(t);
    if pg_catalog.pg_relation_size(t) > 0 then
      execute format('analyze %s', t);
    end if;
  end loop;
end $$;
