# shellcheck shell=bash
# shellcheck disable=SC2016  # what runs as another user expands its own arguments
# Two private PostgreSQL instances: `postgres` keeps the developer's data, `postgres-test` is for the tests alone.
# The second trades durability for speed (no fsync): tests clone hundreds of databases, and nobody misses them.

# The newest installed version, or the one that made the existing data: another major version cannot read it.
pg_bin() {
  local wanted candidate
  wanted=$(cat "$(pg_data "$1")/PG_VERSION" 2>/dev/null || as_pg cat "$(pg_data "$1")/PG_VERSION" 2>/dev/null || true)
  if [[ -n $wanted && ! -x /usr/lib/postgresql/$wanted/bin/postgres ]]; then
    fail "the data of $1 was made by PostgreSQL $wanted, which is not installed; install it, or start over with ./dev reset"
  fi
  candidate=${wanted:-$(pg_installed_version)}
  printf '/usr/lib/postgresql/%s/bin' "$candidate"
}

pg_installed_version() {
  local dir
  for dir in /usr/lib/postgresql/*/bin/initdb; do
    [[ -x $dir ]] && basename "$(dirname "$(dirname "$dir")")"
  done | sort -n | tail -n 1
}

# PostgreSQL refuses to run as root; then its own system user runs it.
pg_user() {
  if ((EUID != 0)); then
    id -un
  elif id postgres >/dev/null 2>&1; then
    printf postgres
  else
    printf nobody
  fi
}

as_pg() {
  if ((EUID != 0)); then
    "$@"
  else
    (cd / && runuser -u "$(pg_user)" -- "$@")
  fi
}

# Where an instance lives: below .dev/, or outside when PostgreSQL's user cannot reach the checkout.
pg_home() { readlink -f "$STATE/$1"; }
pg_data() { printf '%s/data' "$(pg_home "$1")"; }
pg_log() { printf '%s/server.log' "$(pg_home "$1")"; }

pg_make_home() {
  local name=$1 outside=/var/lib/tenantry-dev/$CHECKOUT_ID/$1
  [[ -d $STATE/$name ]] && return
  if ((EUID == 0)) && ! as_pg test -x "$STATE"; then
    install -d -m 0755 /var/lib/tenantry-dev "/var/lib/tenantry-dev/$CHECKOUT_ID"
    install -d -m 0700 -o "$(pg_user)" "$outside"
    ln -sfn "$outside" "$STATE/$name"
  elif ((EUID == 0)); then
    install -d -m 0700 -o "$(pg_user)" "$STATE/$name"
  else
    install -d -m 0700 "$STATE/$name"
  fi
}

# Our settings file is written last, so a directory without it is what an interrupted run left behind.
pg_initialised() { [[ -d $STATE/$1 ]] && as_pg test -s "$(pg_data "$1")/tenantry.conf"; }

pg_initialise() {
  local name=$1 data home password_file bin
  pg_make_home "$name"
  home=$(pg_home "$name") data=$(pg_data "$name") bin=$(pg_bin "$name")
  as_pg rm -rf "$data"
  password_file=$home/password
  as_pg sh -c 'umask 077; cat >"$1"' sh "$password_file" <<<"$TENANTRY_PG_PASSWORD"
  as_pg "$bin/initdb" --pgdata="$data" --username=postgres --pwfile="$password_file" --auth=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8
  as_pg rm -f "$password_file"
  as_pg sh -c 'printf "include '\''tenantry.conf'\''\n" >>"$1/postgresql.conf"; printf "# not configured yet\n" >"$1/tenantry.conf"' sh "$data"
}

pg_configure() {
  local data
  data=$(pg_data "$1")
  pg_settings "$1" | as_pg sh -c 'cat >"$1/tenantry.conf"' sh "$data"
}

pg_settings() {
  local sockets
  # A Unix socket halves what a short statement costs the kernel. PostgreSQL does not start when its path has more than 107 bytes.
  sockets=$(pg_home "$1")
  ((${#sockets} <= 85)) || sockets=
  printf "# Written by ./dev at every start.\nunix_socket_directories = '%s'\n" "$sockets"
  cat <<'EOF'
listen_addresses = '127.0.0.1'
max_connections = 400
shared_buffers = 256MB
max_wal_size = 2GB
checkpoint_timeout = 15min
# Short transactions only: compiling expressions costs more than it saves.
jit = off
log_min_messages = warning
log_min_error_statement = panic
EOF
  [[ $1 == postgres-test ]] || return 0
  cat <<'EOF'
fsync = off
full_page_writes = off
synchronous_commit = off
wal_level = minimal
max_wal_senders = 0
log_min_messages = fatal
EOF
}

pg_pid() { as_pg head -n 1 "$(pg_data "$1")/postmaster.pid" 2>/dev/null; }

pg_running() {
  [[ -d $STATE/$1 ]] && process_is "$(pg_pid "$1")" "-D $(pg_data "$1")"
}

# Some process still works in the data directory.
pg_data_in_use() {
  local cwd
  for cwd in /proc/[0-9]*/cwd; do
    [[ $(readlink "$cwd" 2>/dev/null) != "$1" ]] || return 0
  done
  return 1
}

# After a crash PostgreSQL refuses to start while any process of its user has the old pid, be it a stranger or a zombie.
# Called only when our server does not run; its orphaned children, if any, end by themselves within moments.
pg_clear_stale_pid() {
  local data deadline=$((SECONDS + 10))
  data=$(pg_data "$1")
  as_pg test -e "$data/postmaster.pid" || return 0
  while pg_data_in_use "$data"; do
    ((SECONDS < deadline)) || fail "processes of a crashed $1 still use $data; end them and try again"
    sleep 0.1
  done
  as_pg rm -f "$data/postmaster.pid"
}

pg_start() {
  local name=$1 port=$2 log
  log=$(pg_log "$name")
  as_pg "$(pg_bin "$name")/pg_ctl" start --pgdata="$(pg_data "$name")" --options="-p $port" --log="$log" \
    --wait --timeout=60 9>&-
}

pg_stop() {
  pg_running "$1" || return 0
  # Fast shutdown: sessions are ended, data is flushed.
  as_pg "$(pg_bin "$1")/pg_ctl" stop --pgdata="$(pg_data "$1")" --mode=fast --wait --timeout=60 >/dev/null ||
    fail "$1 did not stop; see $(pg_log "$1")"
  note "$1 stopped"
}

pg_query() {
  PGPASSWORD=$TENANTRY_PG_PASSWORD "$(pg_bin "$1")/psql" --no-psqlrc --host=127.0.0.1 --port="$2" --username=postgres \
    --dbname=postgres --tuples-only --no-align --quiet --command="$3"
}

pg_ensure_database() {
  [[ $(pg_query postgres "$1" "select 1 from pg_database where datname = 'tenantry'") == 1 ]] ||
    pg_query postgres "$1" "create database tenantry"
}

# The data may lie outside .dev/, behind a link.
pg_remove() {
  local home
  [[ -d $STATE/$1 ]] || return 0
  home=$(pg_home "$1")
  rm -rf "${home:?}"
  [[ ! -L $STATE/$1 ]] || rmdir --ignore-fail-on-non-empty --parents "${home%/*}" 2>/dev/null || true
}
