# shellcheck shell=bash
# A private RabbitMQ node with its own name, name server, ports and data; it runs as whoever runs ./dev.
# The system's wrapper in /usr/sbin insists on the rabbitmq user, so the scripts behind it are called.

rabbit_bin() {
  local dir
  for dir in /usr/lib/rabbitmq/bin /opt/rabbitmq/sbin; do
    if [[ -x $dir/rabbitmq-server ]]; then
      printf '%s' "$dir"
      return
    fi
  done
  return 1
}

rabbit_node() { printf 'tenantry_%s@localhost' "$CHECKOUT_ID"; }
# The Erlang machine's command line names its home directory.
rabbit_marker() { printf -- '-home %s/rabbitmq ' "$STATE"; }
rabbit_running() { process_is "$(pid_in "$STATE/rabbitmq/node.pid")" "$(rabbit_marker)"; }

rabbit_initialise() {
  install -d -m 0700 "$STATE/rabbitmq"
  (umask 077 && cat >"$STATE/rabbitmq/rabbitmq.conf") <<EOF
# Written by ./dev at every start. The user below is created with the first start only.
listeners.tcp.local = 127.0.0.1:$TENANTRY_AMQP_PORT
default_user = tenantry
default_pass = $TENANTRY_AMQP_PASSWORD
log.file.level = warning
log.console = false
disk_free_limit.absolute = 1GB
EOF
  printf '[].\n' >"$STATE/rabbitmq/enabled_plugins"
  # Stands in for the system's own file, which could rename our node.
  : >"$STATE/rabbitmq/rabbitmq-env.conf"
}

# rabbit_exec COMMAND...: becomes the command, with everything that keeps this node apart from any other on the machine.
rabbit_exec() {
  local home=$STATE/rabbitmq
  exec env -u RABBITMQ_NODE_IP_ADDRESS \
    HOME="$home" \
    ERL_EPMD_PORT="$((TENANTRY_AMQP_PORT + 1))" ERL_EPMD_ADDRESS=127.0.0.1 \
    RABBITMQ_NODENAME="$(rabbit_node)" \
    RABBITMQ_NODE_PORT="$TENANTRY_AMQP_PORT" RABBITMQ_DIST_PORT="$((TENANTRY_AMQP_PORT + 2))" \
    RABBITMQ_MNESIA_BASE="$home/mnesia" RABBITMQ_LOG_BASE="$home/log" RABBITMQ_PID_FILE="$home/node.pid" \
    RABBITMQ_CONF_ENV_FILE="$home/rabbitmq-env.conf" RABBITMQ_CONFIG_FILE="$home/rabbitmq" \
    RABBITMQ_ADVANCED_CONFIG_FILE="$home/advanced" RABBITMQ_GENERATED_CONFIG_DIR="$home/generated" \
    RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins" \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" \
    "$@"
}

rabbit_start() {
  rm -f "$STATE/rabbitmq/node.pid"
  # An own session: Ctrl-C in the terminal is meant for ./dev, which stops the servers in order.
  (rabbit_exec setsid "$(rabbit_bin)/rabbitmq-server") </dev/null >"$STATE/rabbitmq/server.log" 2>&1 9>&- &
}

# The node opens its port last, so a protocol reply means that it is ready. A wrong header is answered with the right one.
rabbit_answers() {
  local reply
  exec 4<>"/dev/tcp/127.0.0.1/$TENANTRY_AMQP_PORT" || return 1
  printf 'AMQP\1\1\0\1' >&4
  read -r -t 2 -n 4 -u 4 reply
  exec 4>&-
  [[ $reply == AMQP ]]
}

rabbit_stop() {
  local pid
  pid=$(pid_in "$STATE/rabbitmq/node.pid")
  # The Erlang machine shuts its applications down in order on SIGTERM.
  stop_process "$pid" "$(rabbit_marker)" rabbitmq 40
  rm -f "$STATE/rabbitmq/node.pid"
  rabbit_stop_name_server
}

# The name server outlives its node, also one that crashed. It carries the environment that started it.
rabbit_stop_name_server() {
  local comm pid
  for comm in /proc/[0-9]*/comm; do
    [[ $(cat "$comm" 2>/dev/null) == epmd ]] || continue
    pid=${comm%/comm} pid=${pid#/proc/}
    if grep -qzxF "HOME=$STATE/rabbitmq" "/proc/$pid/environ" 2>/dev/null; then
      stop_process "$pid" epmd "rabbitmq's name server" 5
    fi
  done
}
