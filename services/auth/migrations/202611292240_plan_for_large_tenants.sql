-- `app.protect` says it for new tables; these are the ones from before. Analysed at once, because a table that rests is never analysed by itself.
do $$
declare
  t regclass;
begin
  for t in
    select c.oid from pg_catalog.pg_class c join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
    where c.relnamespace = 'auth'::regnamespace and c.relkind in ('r', 'p')
  loop
    perform app.plan_for_large_tenants(t);
    execute format('analyze %s', t);
  end loop;
end $$;
