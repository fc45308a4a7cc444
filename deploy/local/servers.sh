# shellcheck shell=bash
# Starts and stops the private servers. Names: postgres, postgres-test, redis, rabbitmq.

server_running() {
  case $1 in
    postgres | postgres-test) pg_running "$1" ;;
    redis) redis_running ;;
    rabbitmq) rabbit_running ;;
  esac
}

any_server_running() {
  local name
  for name in postgres postgres-test redis rabbitmq; do
    server_running "$name" && return 0
  done
  return 1
}

server_port() {
  case $1 in
    postgres) printf '%s' "$TENANTRY_PG_PORT" ;;
    postgres-test) printf '%s' "$TENANTRY_TEST_PG_PORT" ;;
    redis) printf '%s' "$TENANTRY_REDIS_PORT" ;;
    rabbitmq) printf '%s' "$TENANTRY_AMQP_PORT" ;;
  esac
}

# The ports that a server needs, in the form of require_ports.
server_port_needs() {
  local port
  port=$(server_port "$1")
  case $1 in
    postgres) printf '%s TENANTRY_PG_PORT PostgreSQL\n' "$port" ;;
    postgres-test) printf '%s TENANTRY_TEST_PG_PORT PostgreSQL for tests\n' "$port" ;;
    redis) printf '%s TENANTRY_REDIS_PORT Redis\n' "$port" ;;
    rabbitmq)
      printf '%s TENANTRY_AMQP_PORT RabbitMQ\n' "$port"
      printf '%s TENANTRY_AMQP_PORT RabbitMQ name server, one above RabbitMQ\n' "$((port + 1))"
      printf '%s TENANTRY_AMQP_PORT RabbitMQ distribution, two above RabbitMQ\n' "$((port + 2))"
      ;;
  esac
}

# A server that runs on another port than the one asked for would be talked past.
require_same_port() {
  local started
  started=$(cat "$STATE/run/$1.port" 2>/dev/null || true)
  [[ -z $started || $started == "$(server_port "$1")" ]] ||
    fail "$1 of this checkout already runs on port $started, not $(server_port "$1"); run ./dev down first, or drop the override"
}

start_server() {
  local name=$1 port started=$SECONDS
  port=$(server_port "$name")
  case $name in
    postgres | postgres-test)
      pg_initialised "$name" || quietly "preparing $name" pg_initialise "$name"
      pg_clear_stale_pid "$name"
      pg_configure "$name"
      pg_start "$name" "$port" >"$STATE/log/$name-start.log" 2>&1 </dev/null || {
        as_pg tail -n 5 "$(pg_log "$name")" >&2 || true
        fail "$name did not start; the last lines of $(pg_log "$name") are above"
      }
      [[ $name != postgres ]] || pg_ensure_database "$port"
      ;;
    redis)
      redis_initialise
      redis_start || fail "redis did not start; see .dev/redis/server.log"
      wait_until 30 redis "$STATE/redis/server.log" redis_answers
      ;;
    rabbitmq)
      rabbit_initialise
      rabbit_start
      wait_until 90 rabbitmq "$STATE/rabbitmq/server.log" rabbit_answers
      ;;
  esac
  printf '%s\n' "$port" >"$STATE/run/$name.port"
  note "$name ready on port $port ($((SECONDS - started)) s)"
}

# ensure_servers NAME...: starts those that do not run yet. All ports are checked before anything starts.
ensure_servers() {
  local name missing=() needs=()
  for name in "$@"; do
    if server_running "$name"; then
      require_same_port "$name"
    else
      missing+=("$name")
      [[ $name != rabbitmq ]] || rabbit_stop_name_server
      mapfile -t -O "${#needs[@]}" needs < <(server_port_needs "$name")
    fi
  done
  if ((${#missing[@]} == 0)); then return; fi
  require_ports "${needs[@]}"
  for name in "${missing[@]}"; do
    start_server "$name"
  done
}

stop_servers() {
  rabbit_stop
  redis_stop
  pg_stop postgres-test
  pg_stop postgres
  rm -f "$STATE"/run/*.port
}
