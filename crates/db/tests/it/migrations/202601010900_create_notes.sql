select app.install_service_tables('probe');

create table probe.notes (
  tenant_id uuid not null,
  id uuid not null,
  body text not null check (length(body) <= 1000),
  created_at timestamptz not null default now(),
  primary key (tenant_id, id),
  constraint notes_body_key unique (tenant_id, body)
);
select app.protect('probe.notes');
grant select, insert, delete on probe.notes to probe_app;
grant update (body) on probe.notes to probe_app;

create table probe.comments (
  tenant_id uuid not null,
  id uuid not null,
  note_id uuid not null,
  primary key (tenant_id, id),
  constraint fk_comments_note_id foreign key (tenant_id, note_id) references probe.notes (tenant_id, id)
);
create index idx_comments_note_id on probe.comments (tenant_id, note_id);
select app.protect('probe.comments');
grant select, insert on probe.comments to probe_app;

create table probe.events_by_day (
  tenant_id uuid not null,
  day date not null,
  n bigint not null,
  primary key (tenant_id, day)
) partition by range (day);
select app.protect('probe.events_by_day');
grant select, insert on probe.events_by_day to probe_app;
create table probe.events_by_day_2026 partition of probe.events_by_day for values from ('2026-01-01') to ('2027-01-01');
select app.protect('probe.events_by_day_2026');

create table probe.plans (id uuid primary key, name text not null);
grant select, insert on probe.plans to probe_app;
select app.except_from_gate('R1', 'probe.plans', 'plans are the same for every tenant', '2099-01-01');

create function probe.tenants_with(text_of_note text) returns setof uuid language sql stable
  begin atomic
    select n.tenant_id from probe.notes n where n.body = text_of_note order by n.tenant_id;
  end;
grant select on probe.notes to probe_definer;
select app.run_as_definer('probe.tenants_with(text)');
