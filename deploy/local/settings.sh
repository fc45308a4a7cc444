# shellcheck shell=bash
# .dev/env: every setting of the platform on this machine, written once with random secrets and then the developer's to
# edit. It is plain shell: ports may still be overridden from the environment, and addresses follow them.

secret() { od -An -tx1 -N "${1:-24}" /dev/urandom | tr -d ' \n'; }

# A key of 32 bytes in base64, as the sealing and signing settings expect.
key32() { head -c 32 /dev/urandom | base64 -w 0; }

# name:default of every port, in the order in which they are reported.
# The servers' ports lie below 32768, where Linux begins to hand out ports to outgoing connections: one of those could have the
# port at the moment at which a server wants it.
PORTS=(HTTP:8080 ADMIN:9080 PG:21432 TEST_PG:21433 REDIS:21379 AMQP:21672 S3:21900)
# RabbitMQ's name server and distribution take the two ports after TENANTRY_AMQP_PORT.
AMQP_PORT_COUNT=3

offset_is_free() {
  local entry port
  for entry in "${PORTS[@]}"; do
    port_is_open $((${entry#*:} + $1)) && return 1
  done
  for ((port = 21672 + $1; port < 21672 + $1 + AMQP_PORT_COUNT; port++)); do
    port_is_open "$port" && return 1
  done
  return 0
}

require_offset() {
  [[ $1 =~ ^[0-9]{1,4}$ ]] || fail "TENANTRY_PORT_OFFSET must be a number from 0 to 9999, not '$1'"
}

# An automatic build cannot be asked, so there the first free block of ports is taken.
choose_offset() {
  local offset
  if [[ -n ${TENANTRY_PORT_OFFSET:-} ]]; then
    printf '%s' "$TENANTRY_PORT_OFFSET"
    return
  fi
  if [[ ${CI:-} == true ]]; then
    for ((offset = 0; offset <= 4000; offset += 100)); do
      if offset_is_free "$offset"; then
        printf '%s' "$offset"
        return
      fi
    done
  fi
  printf 0
}

# shellcheck disable=SC2016  # the expansions belong into the file
write_ports() {
  local entry
  printf 'TENANTRY_PORT_OFFSET=%d\n' "$(choose_offset)"
  for entry in "${PORTS[@]}"; do
    printf 'TENANTRY_%s_PORT=${TENANTRY_%s_PORT:-$((%d + TENANTRY_PORT_OFFSET))}\n' "${entry%%:*}" "${entry%%:*}" "${entry#*:}"
  done
}

write_database_urls() {
  local service lower
  for service in AUTH TENANT NICHE SEARCH; do
    lower=${service,,}
    cat <<EOF
${service}_DB_URL=postgres://${lower}_app:$(secret)@127.0.0.1:\$TENANTRY_PG_PORT/tenantry
${service}_DB_RELAY_URL=postgres://${lower}_relay:$(secret)@127.0.0.1:\$TENANTRY_PG_PORT/tenantry
${service}_DB_OWNER_URL=postgres://${lower}_owner:$(secret)@127.0.0.1:\$TENANTRY_PG_PORT/tenantry
EOF
  done
}

write_settings() {
  local pg redis amqp
  pg=$(secret) redis=$(secret) amqp=$(secret)
  cat <<EOF
# Settings of this checkout for development. Made once by ./dev with random secrets; edit freely, never commit.
# Deleting this file alone locks the platform out of its data: use ./dev reset.

# Ports. The environment wins over each of them; an offset given there is remembered here. RabbitMQ also takes the two ports after its own.
$(write_ports)

# Passwords of the private servers' own administrators.
TENANTRY_PG_PASSWORD=$pg
TENANTRY_REDIS_PASSWORD=$redis
TENANTRY_AMQP_PASSWORD=$amqp

TENANTRY_PROFILE=dev

# PostgreSQL. The first address is the administrator's, used only to create roles, schemas and extensions.
TENANTRY_ADMIN_DB_URL=postgres://postgres:\$TENANTRY_PG_PASSWORD@127.0.0.1:\$TENANTRY_PG_PORT/tenantry
$(write_database_urls)

REDIS_URL=redis://:\$TENANTRY_REDIS_PASSWORD@127.0.0.1:\$TENANTRY_REDIS_PORT/0
AMQP_URL=amqp://tenantry:\$TENANTRY_AMQP_PASSWORD@127.0.0.1:\$TENANTRY_AMQP_PORT/%2f

# Object storage is embedded in the stack and keeps its files here.
S3_ENDPOINT=http://127.0.0.1:\$TENANTRY_S3_PORT
S3_REGION=us-east-1
S3_BUCKET=tenantry
S3_ACCESS_KEY=$(secret 10)
S3_SECRET_KEY=$(secret 20)
S3_DATA_DIR=.dev/s3

# Mail is written to files.
MAIL_DIR=.dev/mail

GATEWAY_HTTP_LISTEN=127.0.0.1:\$TENANTRY_HTTP_PORT
# A laptop's one user signs in far more often than the limits of production allow (5 times in 15 minutes).
GATEWAY_RATE_LIMIT_FACTOR=20
ADMIN_LISTEN=127.0.0.1:\$TENANTRY_ADMIN_PORT
TENANTRY_ADMIN_ADDRESS=\$ADMIN_LISTEN
AUTH_PUBLIC_URL=http://127.0.0.1:\$TENANTRY_HTTP_PORT

AUTH_PASSWORD_PEPPER=$(key32)
AUTH_REFRESH_KEY=$(key32)
CURSOR_KEY=$(key32)
AUTH_SIGNING_KEY_FILE=.dev/keys/auth-signing.pem

# The first platform administrator.
AUTH_SEED_ADMIN_EMAIL=admin@tenantry.test
AUTH_SEED_ADMIN_PASSWORD=$(secret 12)
EOF
}

ensure_settings() {
  local made
  require_offset "${TENANTRY_PORT_OFFSET:-0}"
  if [[ ! -e $STATE/env ]]; then
    if [[ -e $STATE/postgres || -e $STATE/rabbitmq/mnesia ]]; then
      fail ".dev/env is missing but data made with its passwords exists; restore the file, or start over with ./dev reset"
    fi
    # Written under another name first: a half-written file would be taken for a whole one.
    made=$STATE/env.new
    (umask 077 && write_settings >"$made") || fail "cannot write .dev/env"
    mv "$made" "$STATE/env"
    note "settings written to .dev/env"
  elif [[ -n ${TENANTRY_PORT_OFFSET:-} ]] && ! grep -qx "TENANTRY_PORT_OFFSET=$TENANTRY_PORT_OFFSET" "$STATE/env"; then
    ! any_server_running || fail "servers of this checkout run on other ports; run ./dev down before moving them"
    # Remembered, so that the next command finds the same servers.
    sed -i "s/^TENANTRY_PORT_OFFSET=.*/TENANTRY_PORT_OFFSET=$TENANTRY_PORT_OFFSET/" "$STATE/env"
  fi
  load_settings
  [[ -e $AUTH_SIGNING_KEY_FILE ]] || quietly "making the key that signs access tokens" make_signing_key
}

make_signing_key() {
  mkdir -p "$(dirname "$AUTH_SIGNING_KEY_FILE")"
  (umask 077 && openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out "$AUTH_SIGNING_KEY_FILE.new")
  mv "$AUTH_SIGNING_KEY_FILE.new" "$AUTH_SIGNING_KEY_FILE"
}

load_settings() {
  [[ -r $STATE/env ]] || fail "there is no .dev/env yet; run ./dev up first"
  set -a
  # shellcheck disable=SC1091  # made by write_settings
  . "$STATE/env"
  set +a
}

# Ports stay: a ./dev inside the command must find the same servers.
unset_settings() {
  local name
  while read -r name; do
    [[ $name == TENANTRY_*_PORT ]] || unset "$name"
  done < <(sed -nE 's/^([A-Z][A-Z0-9_]*)=.*/\1/p' "$STATE/env")
}
