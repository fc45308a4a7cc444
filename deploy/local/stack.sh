# shellcheck shell=bash
# The platform itself: all services and workers in one process, supervised in the foreground.

stack_binary() { printf '%s/debug/stack' "${CARGO_TARGET_DIR:-$ROOT/target}"; }
stack_marker() { printf '%s up' "$(stack_binary)"; }
stack_running() { process_is "$(pid_in "$STATE/run/stack.pid")" "$(stack_marker)"; }
stack_url() { printf 'http://127.0.0.1:%s' "$TENANTRY_HTTP_PORT"; }
stack_answers() { curl --fail --silent --max-time 2 --output /dev/null "$(stack_url)/health/ready"; }

# The ports that the running platform was started with, which another terminal need not repeat.
load_stack_ports() {
  if stack_running && [[ -r $STATE/run/stack.ports ]]; then
    # shellcheck disable=SC1091  # made by start_stack
    . "$STATE/run/stack.ports"
  fi
}

# Its draining takes up to 25 s by design.
STACK_STOP_SECONDS=35

build_stack() {
  say "building (the first build takes some minutes)"
  cargo build --package stack --bin stack || fail "the build failed; the compiler's message is above"
}

# Starts in a session of its own, so that Ctrl-C reaches ./dev alone, which then asks the stack once and waits for it to
# drain. Should ./dev be killed outright, the kernel passes the request to stop on.
start_stack() {
  local log=$1
  if [[ $log == terminal ]]; then
    setsid setpriv --pdeathsig TERM -- "$(stack_binary)" up </dev/null &
  else
    [[ ! -e $log ]] || mv "$log" "$log.1"
    setsid setpriv --pdeathsig TERM -- "$(stack_binary)" up </dev/null >"$log" 2>&1 &
  fi
  STACK_PID=$!
  printf '%s\n' "$STACK_PID" >"$STATE/run/stack.pid"
  printf 'TENANTRY_HTTP_PORT=%s\nTENANTRY_ADMIN_PORT=%s\n' "$TENANTRY_HTTP_PORT" "$TENANTRY_ADMIN_PORT" >"$STATE/run/stack.ports"
}

await_stack() {
  local log=$1 started=$SECONDS
  until stack_answers; do
    if ! kill -0 "$STACK_PID" 2>/dev/null; then
      [[ $log == terminal ]] || tail -n 20 "$log" >&2
      fail "the platform did not start; the reason is above${log:+ (log: ${log#"$ROOT"/})}"
    fi
    if ((SECONDS - started >= 120)); then
      [[ $log == terminal ]] || tail -n 20 "$log" >&2
      fail "the platform is not ready after 120 s: $(stack_url)/health/ready says $(curl --silent --max-time 2 "$(stack_url)/health/ready" | head -c 300)"
    fi
    sleep 0.1
  done
}

show_stack() {
  cat <<EOF

Tenantry is running.
  API            $(stack_url)/v1
  documentation  $(stack_url)/docs
  metrics        http://127.0.0.1:$TENANTRY_ADMIN_PORT/metrics
  administrator  $AUTH_SEED_ADMIN_EMAIL / $AUTH_SEED_ADMIN_PASSWORD
  mail           .dev/mail
  settings       .dev/env

See it work: ./dev demo (in another terminal)
EOF
}

# Waits for the end, asked for or not, and answers with the stack's own status.
supervise_stack() {
  local log=$1 status=0
  wait "$STACK_PID" || status=$?
  if ((status != 0)); then
    [[ $log == terminal ]] || tail -n 20 "$log" >&2
    fail "the platform ended with status $status; the last lines of its log are above"
  fi
  say "the platform was stopped"
}

stop_stack() {
  stop_process "$(pid_in "$STATE/run/stack.pid")" "$(stack_marker)" "the platform" "$STACK_STOP_SECONDS"
  rm -f "$STATE/run/stack.pid"
}

# The demo imports the machine's own package index, which slim images come without.
ensure_package_index() {
  compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null && return
  require_root_for "the package index that the demo imports"
  quietly "fetching the package index" apt_update
}
