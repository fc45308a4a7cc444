// The reference of `cargo xtask bench`: what a careful programmer gets from Node, Fastify and pg for the same read.
// It verifies the access token (and remembers the verdict, as the platform does), reads one record in a transaction that carries the
// tenant under row-level security, and serialises by a schema. It has no rate limits, permissions, sessions, access log or metrics.
import cluster from 'node:cluster';
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';

import Fastify from 'fastify';
import { createVerifier } from 'fast-jwt';
import pg from 'pg';

const env = process.env;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

const record = {
  type: 'object',
  properties: {
    id: { type: 'string' },
    niche: { type: 'string' },
    entity: { type: 'string' },
    data: { type: 'object', additionalProperties: true },
    version: { type: 'integer' },
    createdAt: { type: 'string' },
    updatedAt: { type: 'string' },
  },
};

async function serve() {
  const key = createPublicKey(readFileSync(env.JWT_KEY_FILE)).export({ type: 'spki', format: 'pem' });
  const verify = createVerifier({
    key,
    algorithms: ['RS256'],
    allowedIss: env.JWT_ISSUER,
    allowedAud: env.JWT_AUDIENCE,
    requiredClaims: ['exp', 'sub', 'sid'],
    cache: 10_000,
  });
  const pool = new pg.Pool({
    host: env.PGHOST,
    port: Number(env.PGPORT),
    user: env.PGUSER,
    password: env.PGPASSWORD,
    database: env.PGDATABASE,
    max: Number(env.POOL_MAX),
  });
  const select = {
    name: 'read',
    text: 'select id, niche, entity, data, version, created_at, updated_at from niche.records where id = $1 and niche = $2 and entity = $3',
  };

  async function read(tenant, values) {
    const client = await pool.connect();
    try {
      // Two statements in one round trip; the tenant is known to be a UUID.
      await client.query(`BEGIN; SET LOCAL app.tenant_id = '${tenant}'`);
      const { rows } = await client.query({ ...select, values });
      await client.query('COMMIT');
      client.release();
      return rows[0];
    } catch (error) {
      client.release(error);
      throw error;
    }
  }

  const app = Fastify({ logger: false, keepAliveTimeout: 75_000 });
  app.decorateRequest('tenant', '');
  app.addHook('onRequest', async (request, reply) => {
    const [scheme, token] = (request.headers.authorization ?? '').split(' ');
    try {
      const claims = verify(scheme === 'Bearer' ? token : '');
      if (!uuid.test(claims.tenantId)) throw new Error('no tenant');
      request.tenant = claims.tenantId;
    } catch {
      return reply.code(401).send({ error: 'INVALID_TOKEN' });
    }
  });
  app.get(
    '/v1/niches/:niche/:entity/records/:id',
    {
      schema: {
        params: {
          type: 'object',
          properties: { niche: { type: 'string' }, entity: { type: 'string' }, id: { type: 'string', pattern: uuid.source } },
        },
        response: { 200: { type: 'object', properties: { data: record } } },
      },
    },
    async (request, reply) => {
      const { niche, entity, id } = request.params;
      const row = await read(request.tenant, [id, niche, entity]);
      if (!row) return reply.code(404).send({ error: 'NOT_FOUND' });
      reply.header('etag', `"${row.version}"`);
      return {
        data: { ...row, createdAt: row.created_at.toISOString(), updatedAt: row.updated_at.toISOString() },
      };
    },
  );
  await app.listen({ host: '127.0.0.1', port: Number(env.PORT) });
}

if (cluster.isPrimary) {
  for (let n = 0; n < Number(env.WORKERS); n += 1) cluster.fork();
  cluster.on('exit', () => process.exit(1));
} else {
  await serve();
}
