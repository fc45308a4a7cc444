select app.install_service_tables('niche');

-- The kits that this database has seen, every version. A version never changes: tenants rely on it, and rollback restores it.
create table niche.kits (
  key text not null,
  version text not null,
  -- json rather than jsonb: the order of a form's fields is part of the form.
  manifest json not null,
  checksum text not null,
  synced_at timestamptz not null,
  primary key (key, version)
);
grant select, insert on niche.kits to niche_app;
grant update (manifest, checksum, synced_at) on niche.kits to niche_app;
select app.except_from_gate('R1', 'niche.kits', 'kits are product data, the same for every tenant, written only from the shipped files', '2028-01-01');

-- What a tenant has activated.
create table niche.niches (
  tenant_id uuid not null,
  key text not null,
  kit text not null,
  kit_version text not null,
  status text not null constraint niches_status_check check (status in ('active', 'inactive')),
  -- Grows with every change of an overlay; forms compiled from an older one are not used again.
  overlay_revision integer not null default 0,
  activated_at timestamptz not null,
  activated_by uuid,
  primary key (tenant_id, key),
  constraint niches_kit_fkey foreign key (kit, kit_version) references niche.kits (key, version)
);
select app.protect('niche.niches');
grant select, insert on niche.niches to niche_app;
grant update (kit_version, status, overlay_revision) on niche.niches to niche_app;

-- The tenant's own edits: one JSON merge patch per object of the kit. Kit rows are never written.
create table niche.niche_overlays (
  tenant_id uuid not null,
  niche text not null,
  object_kind text not null constraint niche_overlays_object_kind_check
    check (object_kind in ('entity', 'taxonomy', 'prompt', 'workflow', 'report', 'ui')),
  object_key text not null,
  patch jsonb not null,
  updated_at timestamptz not null,
  updated_by uuid,
  primary key (tenant_id, niche, object_kind, object_key),
  constraint niche_overlays_niche_fkey foreign key (tenant_id, niche) references niche.niches (tenant_id, key) on delete cascade
);
select app.protect('niche.niche_overlays');
grant select, insert, delete on niche.niche_overlays to niche_app;
grant update (patch, updated_at, updated_by) on niche.niche_overlays to niche_app;

create table niche.records (
  tenant_id uuid not null,
  id uuid not null,
  niche text not null,
  entity text not null,
  -- The value of the entity's natural key in one spelling; null when it has none.
  natural_key text,
  data jsonb not null,
  version integer not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (tenant_id, id)
) with (fillfactor = 90);
-- Null keys are not in it: entities without a natural key pay nothing.
create unique index records_natural_key_key on niche.records (tenant_id, niche, entity, natural_key) where natural_key is not null;
create index records_created_at_idx on niche.records (tenant_id, niche, entity, created_at desc, id desc);
select app.protect('niche.records');
grant select, insert, delete on niche.records to niche_app;
grant update (natural_key, data, version, updated_at) on niche.records to niche_app;

-- The facet values of each record, because a condition on jsonb is not leakproof and no index would serve it under row level security.
-- No foreign key: both tables are written by the same statements under the lock of the record's row, and 15,000 checks a second have a price.
create table niche.record_facets (
  tenant_id uuid not null,
  niche text not null,
  entity text not null,
  facet text not null,
  value text not null,
  record_id uuid not null,
  primary key (tenant_id, niche, entity, facet, value, record_id)
);
create index record_facets_record_id_idx on niche.record_facets (tenant_id, record_id);
select app.protect('niche.record_facets');
grant select, insert, delete on niche.record_facets to niche_app;
