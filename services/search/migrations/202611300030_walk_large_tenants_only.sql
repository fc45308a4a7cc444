-- Vectors are found by a walk through the index only where a tenant has too many to compare each of them. To enter one vector into that index costs
-- more than all else that a document costs, and most tenants never have so many; their vectors now stay out of it.
--
-- A tenant's vectors are handed over to the index some at a time, so a search compares those that have not been and walks through the others.
alter table search.embeddings add column walked boolean not null default false;
grant update (walked) on search.embeddings to search_app;

-- The tenants that were searched by a walk still are. The owner is bound to a tenant like everybody, but for this statement.
alter table search.embeddings no force row level security;
update search.embeddings set walked = true
where tenant_id in (select tenant_id from search.embeddings group by tenant_id having count(*) > 20000);
alter table search.embeddings force row level security;

drop index search.idx_embeddings_embedding;
create index idx_embeddings_embedding on search.embeddings using hnsw (embedding ext.halfvec_cosine_ops) where walked;
create index idx_embeddings_walked on search.embeddings (tenant_id, walked);

drop function search.hybrid(text, real[], text, text, jsonb, boolean, text, text, integer);
create function search.hybrid(
    query       text,
    query_vector real[],
    niche_only  text,
    entity_only text,
    filters     jsonb,
    use_keyword boolean,
    vector_mode text,
    model       text,
    wanted      integer
) returns table (document_id uuid, ordinal smallint, score double precision, candidates bigint)
language plpgsql rows 10
as $$
declare
    tenant constant uuid := app.tid();
    depth  constant integer := greatest(wanted * 3, 60);
    ranked constant integer := 2000;
    english constant tsquery := websearch_to_tsquery('english', query);
    portuguese constant tsquery := websearch_to_tsquery('portuguese', query);
    parsed constant tsquery := case when english = portuguese then english else english || portuguese end;
    filtered constant boolean := filters <> '[]';
    probe  constant ext.halfvec := case when vector_mode <> 'none' then query_vector::ext.halfvec end;
begin
    perform set_config('plan_cache_mode', 'force_custom_plan', true), set_config('max_parallel_workers_per_gather', '0', true);
    if vector_mode = 'hnsw' then
        perform set_config('hnsw.iterative_scan', 'relaxed_order', true);
        perform set_config('hnsw.ef_search', greatest(120, depth)::text, true);
        perform set_config('hnsw.max_scan_tuples', '60000', true);
    end if;
    return query
    with matching as materialized (
        -- Without a limit here, so that the planner reads the index of words for all of them; the limit below ends the reading early.
        select c.document_id, c.ordinal, c.tsv
        from search.chunks c
        where use_keyword and c.tenant_id = tenant and c.tsv @@ parsed
          and (niche_only = '' or c.niche = niche_only) and (entity_only = '' or c.entity = entity_only)
          and not (filtered and exists (
              select 1 from jsonb_array_elements(filters) f where not c.facet_terms && array(select jsonb_array_elements_text(f))))
    ),
    keyword as materialized (
        select m.document_id, m.ordinal,
               row_number() over (order by ts_rank_cd(m.tsv, parsed, 1) desc, m.document_id) as place
        from (select * from matching limit ranked) m
        order by place limit depth
    ),
    exact as materialized (
        select e.document_id, e.ordinal, (e.embedding operator(ext.<=>) probe) + 0 as distance
        from search.embeddings e
        where vector_mode <> 'none' and e.tenant_id = tenant and e.embedding_model = model
          and (vector_mode = 'exact' or not e.walked)
          and (niche_only = '' or e.niche = niche_only) and (entity_only = '' or e.entity = entity_only)
          and not (filtered and exists (
              select 1 from jsonb_array_elements(filters) f where not e.facet_terms && array(select jsonb_array_elements_text(f))))
        order by distance limit depth
    ),
    walked as materialized (
        select e.document_id, e.ordinal, e.embedding operator(ext.<=>) probe as distance
        from search.embeddings e
        where vector_mode = 'hnsw' and e.tenant_id = tenant and e.embedding_model = model and e.walked
          and (niche_only = '' or e.niche = niche_only) and (entity_only = '' or e.entity = entity_only)
          and not (filtered and exists (
              select 1 from jsonb_array_elements(filters) f where not e.facet_terms && array(select jsonb_array_elements_text(f))))
        order by e.embedding operator(ext.<=>) probe limit depth
    ),
    vectors as (
        select v.document_id, v.ordinal, row_number() over (order by v.distance, v.document_id) as place
        from (select * from exact union all select * from walked) v
        -- Vectors at a right angle have nothing in common with the query.
        where v.distance < 0.999
    ),
    fused as (
        -- Reciprocal rank fusion with the usual constant 60 (Cormack, Clarke and Buettcher, SIGIR 2009).
        select r.document_id, r.ordinal, sum(1.0 / (60 + r.place)) as points
        from (select * from keyword union all select * from vectors) r
        group by r.document_id, r.ordinal
    ),
    best as (
        select distinct on (f.document_id) f.document_id, f.ordinal, f.points
        from fused f order by f.document_id, f.points desc, f.ordinal
    )
    select b.document_id, b.ordinal, b.points::double precision, count(*) over ()
    from best b order by b.points desc, b.document_id limit wanted;
end
$$;
select app.run_as_definer('search.hybrid(text, real[], text, text, jsonb, boolean, text, text, integer)');
