# shellcheck shell=bash
# Source this to run `cargo test` by hand: exports where the tests find their servers (started by ./dev infra).
_tenantry_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [[ -r $_tenantry_root/.dev/env ]]; then
  # Only the three addresses leave this subshell, so the tests cannot come to depend on other settings.
  eval "$(
    . "$_tenantry_root/.dev/env"
    printf 'export TESTKIT_DATABASE_URL=%q\n' "postgres://postgres:$TENANTRY_PG_PASSWORD@127.0.0.1:$TENANTRY_TEST_PG_PORT/postgres"
    printf 'export TESTKIT_REDIS_URL=%q\n' "$REDIS_URL"
    printf 'export TESTKIT_AMQP_URL=%q\n' "$AMQP_URL"
  )"
else
  printf 'there are no test servers yet: run ./dev infra\n' >&2
fi
unset _tenantry_root
