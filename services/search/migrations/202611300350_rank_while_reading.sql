-- Passages that match the words are ranked while they are found: what is put aside of them is their rank, no longer their lists of words, which took as
-- long to copy as to find. Only the best are numbered.
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
        select c.document_id, c.ordinal, ts_rank_cd(c.tsv, parsed, 1) as rank
        from search.chunks c
        where use_keyword and c.tenant_id = tenant and c.tsv @@ parsed
          and (niche_only = '' or c.niche = niche_only) and (entity_only = '' or c.entity = entity_only)
          and not (filtered and exists (
              select 1 from jsonb_array_elements(filters) f where not c.facet_terms && array(select jsonb_array_elements_text(f))))
    ),
    keyword as materialized (
        select best.document_id, best.ordinal, row_number() over (order by best.rank desc, best.document_id) as place
        from (select * from (select * from matching limit ranked) m order by m.rank desc, m.document_id limit depth) best
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
