# shellcheck shell=bash
# A private Redis: rate limits, locks and caches. Nothing in it is the only copy, so it keeps no append-only file.

redis_running() { process_is "$(pid_in "$STATE/redis/redis.pid")" "$STATE/redis/redis.conf"; }

redis_initialise() {
  install -d -m 0700 "$STATE/redis"
  (umask 077 && cat >"$STATE/redis/redis.conf") <<EOF
# Written by ./dev at every start.
bind 127.0.0.1
port $TENANTRY_REDIS_PORT
requirepass $TENANTRY_REDIS_PASSWORD
dir "$STATE/redis"
pidfile "$STATE/redis/redis.pid"
logfile "$STATE/redis/server.log"
daemonize yes
# The command line must keep naming this file: it tells our server from others.
set-proc-title no
appendonly no
save 300 100
databases 4
EOF
}

redis_start() { redis-server "$STATE/redis/redis.conf" 9>&-; }

redis_answers() {
  local reply
  exec 4<>"/dev/tcp/127.0.0.1/$TENANTRY_REDIS_PORT" || return 1
  printf 'AUTH %s\r\nPING\r\n' "$TENANTRY_REDIS_PASSWORD" >&4
  read -r -t 2 -u 4 reply && read -r -t 2 -u 4 reply
  exec 4>&-
  [[ $reply == +PONG* ]]
}

redis_stop() {
  stop_process "$(pid_in "$STATE/redis/redis.pid")" "$STATE/redis/redis.conf" redis 20
}
