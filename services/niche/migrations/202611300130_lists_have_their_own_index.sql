-- The index of lists holds the id too, so for a few records the planner takes it for as good as the key, and keeps such a plan when there are many:
-- every read by id then walks through the tenant. Its condition, which is always true, leaves it to the statements that name it.
drop index niche.records_created_at_idx;
create index records_created_at_idx on niche.records (tenant_id, niche, entity, created_at desc, id desc) where version > 0;
