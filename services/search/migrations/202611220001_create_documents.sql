-- What search knows of a record: the document as the kit declares it, its passages for full text, their embeddings.
select app.install_service_tables('search');

create table search.documents (
    tenant_id      uuid        not null,
    -- The id of the record.
    id             uuid        not null,
    niche          text        not null,
    entity         text        not null,
    title          text        not null,
    -- `facet:value`, for filters and for showing.
    facet_terms    text[]      not null,
    record_version integer     not null,
    content_hash   bytea       not null,
    indexed_at     timestamptz not null,
    primary key (tenant_id, id)
);
select app.protect('search.documents');
grant select, insert, delete on search.documents to search_app;
grant update (niche, entity, title, facet_terms, record_version, content_hash, indexed_at) on search.documents to search_app;

-- Passages and embeddings are partitioned by tenant, so that the walk through a vector index meets few foreign vectors
-- and a large tenant does not slow the small ones.
create table search.chunks (
    tenant_id    uuid     not null,
    document_id  uuid     not null,
    ordinal      smallint not null,
    niche        text     not null,
    entity       text     not null,
    facet_terms  text[]   not null,
    content      text     not null,
    content_hash bytea    not null,
    tsv          tsvector not null,
    primary key (tenant_id, document_id, ordinal),
    constraint fk_chunks_document_id foreign key (tenant_id, document_id) references search.documents (tenant_id, id) on delete cascade
) partition by hash (tenant_id);

-- Vectors live apart from the text: a row of both would exceed the size at which PostgreSQL moves values out of line,
-- and an exact scan would then fetch each vector separately.
create table search.embeddings (
    tenant_id            uuid             not null,
    document_id          uuid             not null,
    ordinal              smallint         not null,
    niche                text             not null,
    entity               text             not null,
    facet_terms          text[]           not null,
    content_hash         bytea            not null,
    embedding            ext.halfvec(384) not null,
    embedding_model      text             not null,
    embedding_updated_at timestamptz      not null,
    primary key (tenant_id, document_id, ordinal),
    constraint fk_embeddings_chunk foreign key (tenant_id, document_id, ordinal)
        references search.chunks (tenant_id, document_id, ordinal) on delete cascade
) partition by hash (tenant_id);

do $$
begin
    for i in 0..7 loop
        execute format('create table search.chunks_p%s partition of search.chunks for values with (modulus 8, remainder %s)', i, i);
        execute format('create table search.embeddings_p%s partition of search.embeddings for values with (modulus 8, remainder %s)', i, i);
        perform app.protect(format('search.chunks_p%s', i)::regclass);
        perform app.protect(format('search.embeddings_p%s', i)::regclass);
    end loop;
end
$$;

select app.protect('search.chunks');
select app.protect('search.embeddings');
grant select, insert, delete on search.chunks, search.embeddings to search_app;
grant update (niche, entity, facet_terms, content, content_hash, tsv) on search.chunks to search_app;
grant update (niche, entity, facet_terms, content_hash, embedding, embedding_model, embedding_updated_at) on search.embeddings to search_app;

create index idx_chunks_tsv on search.chunks using gin (tenant_id ext.uuid_ops, tsv);
create index idx_embeddings_embedding on search.embeddings using hnsw (embedding ext.halfvec_cosine_ops);
