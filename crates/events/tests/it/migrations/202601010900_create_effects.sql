select app.install_service_tables('probe');

create table probe.effects (
  tenant_id uuid not null,
  id uuid not null,
  event_id uuid not null,
  primary key (tenant_id, id)
);
select app.protect('probe.effects');
grant select, insert on probe.effects to probe_app;
