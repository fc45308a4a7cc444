-- The one way to search. Full-text and vector operators are not leakproof, so under row-level security the planner must
-- not use their indexes; this function runs as a role that row-level security does not bind, takes the tenant from the
-- transaction's setting alone (`app.tid()` raises when there is none) and names it in every predicate.
--
-- `vector_mode`: `exact` orders all of the tenant's vectors (recall 1; the `+ 0` keeps the planner off the vector index),
-- `hnsw` walks the index with iterative scan and sorts again, `none` leaves vectors out.
-- `filters` is an array of arrays of `facet:value`: any term of each inner array.
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
language plpgsql
as $$
declare
    tenant constant uuid := app.tid();
    depth  constant integer := greatest(wanted * 3, 60);
    parsed constant tsquery := websearch_to_tsquery('english', query) || websearch_to_tsquery('portuguese', query);
    probe  constant ext.halfvec := case when vector_mode <> 'none' then query_vector::ext.halfvec end;
begin
    if vector_mode = 'hnsw' then
        perform set_config('hnsw.iterative_scan', 'relaxed_order', true);
        perform set_config('hnsw.ef_search', greatest(120, depth)::text, true);
        perform set_config('hnsw.max_scan_tuples', '60000', true);
    end if;
    return query
    with keyword as materialized (
        select c.document_id, c.ordinal,
               row_number() over (order by ts_rank_cd(c.tsv, parsed, 1) desc, c.document_id) as place
        from search.chunks c
        where use_keyword and c.tenant_id = tenant and c.tsv @@ parsed
          and (niche_only = '' or c.niche = niche_only) and (entity_only = '' or c.entity = entity_only)
          and not exists (select 1 from jsonb_array_elements(filters) f
                          where not c.facet_terms && array(select jsonb_array_elements_text(f)))
        order by place limit depth
    ),
    exact as materialized (
        select e.document_id, e.ordinal, (e.embedding operator(ext.<=>) probe) + 0 as distance
        from search.embeddings e
        where vector_mode = 'exact' and e.tenant_id = tenant and e.embedding_model = model
          and (niche_only = '' or e.niche = niche_only) and (entity_only = '' or e.entity = entity_only)
          and not exists (select 1 from jsonb_array_elements(filters) f
                          where not e.facet_terms && array(select jsonb_array_elements_text(f)))
        order by distance limit depth
    ),
    walked as materialized (
        select e.document_id, e.ordinal, e.embedding operator(ext.<=>) probe as distance
        from search.embeddings e
        where vector_mode = 'hnsw' and e.tenant_id = tenant and e.embedding_model = model
          and (niche_only = '' or e.niche = niche_only) and (entity_only = '' or e.entity = entity_only)
          and not exists (select 1 from jsonb_array_elements(filters) f
                          where not e.facet_terms && array(select jsonb_array_elements_text(f)))
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
grant select on search.chunks, search.embeddings to search_definer;
select app.run_as_definer('search.hybrid(text, real[], text, text, jsonb, boolean, text, text, integer)');
