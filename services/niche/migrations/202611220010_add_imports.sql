-- A file on its way into records. A worker takes it in slices: whatever it has written stands beside how far it came, so a crash repeats nothing.
create table niche.imports (
  tenant_id uuid not null,
  id uuid not null,
  niche text not null,
  entity text not null,
  -- The import mapping of the kit; empty means the entity's first.
  mapping text not null,
  dry_run boolean not null,
  status text not null constraint imports_status_check check (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  object_key text not null,
  file_bytes bigint not null,
  -- Where the last row that was worked through ends.
  processed_bytes bigint not null default 0,
  -- The number of that row; the header is row 1, empty lines count.
  last_row bigint not null default 0,
  processed_rows bigint not null default 0,
  created_rows bigint not null default 0,
  updated_rows bigint not null default 0,
  unchanged_rows bigint not null default 0,
  failed_rows bigint not null default 0,
  stored_errors integer not null default 0,
  -- Why the import as a whole failed: a rule and the parameters of its text, in no language yet.
  failure_rule text,
  failure_params jsonb,
  cancel_requested boolean not null default false,
  -- The event whose worker has the import in hand, and until when it may.
  lease_event uuid,
  locked_until timestamptz,
  created_by uuid,
  created_at timestamptz not null,
  started_at timestamptz,
  finished_at timestamptz,
  primary key (tenant_id, id)
) with (fillfactor = 70);
create index imports_created_at_idx on niche.imports (tenant_id, created_at desc, id desc);
select app.protect('niche.imports');
grant select, insert on niche.imports to niche_app;
grant update (status, processed_bytes, last_row, processed_rows, created_rows, updated_rows, unchanged_rows, failed_rows, stored_errors,
              failure_rule, failure_params, cancel_requested, lease_event, locked_until, started_at, finished_at)
  on niche.imports to niche_app;

-- What is wrong with which row. It holds nothing of the row itself: names, a rule and the rule's parameters.
create table niche.import_errors (
  tenant_id uuid not null,
  import_id uuid not null,
  row_number bigint not null,
  -- Which of the row's errors this is.
  position integer not null,
  -- The column as the file names it; empty when the row as a whole is broken.
  source_column text not null,
  -- The field of the form.
  field text not null,
  rule text not null,
  params jsonb not null,
  primary key (tenant_id, import_id, row_number, position),
  constraint import_errors_import_id_fkey foreign key (tenant_id, import_id) references niche.imports (tenant_id, id) on delete cascade
);
select app.protect('niche.import_errors');
grant select, insert on niche.import_errors to niche_app;

-- Every object in the object store that an import has, or that an upload began to write. Noted before its first byte is sent, so that nothing
-- can be left behind unseen.
create table niche.import_objects (
  tenant_id uuid not null,
  object_key text not null,
  -- From when it may be deleted; null while an import needs it.
  delete_after timestamptz,
  primary key (tenant_id, object_key)
);
select app.protect('niche.import_objects');
grant select, insert, delete on niche.import_objects to niche_app;
grant update (delete_after) on niche.import_objects to niche_app;

-- The sweep knows no tenant before it has looked. The table is as small as the number of files in flight.
create function niche.objects_to_delete(due timestamptz, wanted integer) returns table (tenant_id uuid, object_key text) language sql stable
  begin atomic
    select o.tenant_id, o.object_key from niche.import_objects o where o.delete_after < due order by o.delete_after limit wanted;
  end;
grant select on niche.import_objects to niche_definer;
select app.run_as_definer('niche.objects_to_delete(timestamptz, integer)');
