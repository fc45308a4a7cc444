# shellcheck shell=bash
# Processes and ports. A pid alone proves nothing (a crash leaves stale pid files and pids are reused), so every check
# also asks that the command line names this checkout's own data.

# process_is PID MARKER: the process lives and its command line contains the marker.
process_is() {
  [[ ${1:-} =~ ^[0-9]+$ && -r /proc/$1/cmdline ]] || return 1
  grep -qF -- "$2" < <(tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null)
}

pid_in() { if [[ -r $1 ]]; then head -n 1 "$1" | tr -d ' '; fi; }

# stop_process PID MARKER LABEL SECONDS: asks politely, waits, then insists.
stop_process() {
  local pid=$1 marker=$2 label=$3 deadline=$((SECONDS + $4))
  process_is "$pid" "$marker" || return 0
  kill -TERM "$pid" 2>/dev/null || true
  while process_is "$pid" "$marker"; do
    if ((SECONDS >= deadline)); then
      note "$label did not stop within $4 s, killing it"
      kill -KILL "$pid" 2>/dev/null || true
      deadline=$((SECONDS + 5))
    fi
    sleep 0.1
  done
  note "$label stopped"
}

port_is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# port_holder PORT: "name (pid N)" where the system tells, else "another process".
port_holder() {
  local found=
  if command -v ss >/dev/null; then
    found=$(ss -Hltnp "sport = :$1" 2>/dev/null | sed -nE 's/.*\(\("([^"]+)",pid=([0-9]+).*/\1 (pid \2)/p' | head -n 1)
  fi
  printf '%s' "${found:-another process}"
}

# require_ports "PORT SETTING LABEL"...: reports every taken port at once, so that one correction is enough.
require_ports() {
  local entry port setting label taken=0
  for entry in "$@"; do
    read -r port setting label <<<"$entry"
    port_is_open "$port" || continue
    taken=$((taken + 1))
    printf 'dev: port %s (%s) is taken by %s; stop it or choose another with %s=<port>\n' \
      "$port" "$label" "$(port_holder "$port")" "$setting" >&2
  done
  if ((taken == 0)); then return; fi
  if ((taken > 1)); then
    printf 'dev: to move all ports at once: TENANTRY_PORT_OFFSET=100 ./dev <command> (remembered in .dev/env)\n' >&2
  fi
  exit 1
}

# Commands of one checkout share its servers: each registers in run/holders, and the last one out stops what was started.
# `./dev infra` leaves `keep` behind instead, which only `./dev down` removes.
held_by_others() {
  local file pid
  [[ -e $STATE/run/keep ]] && return 0
  for file in "$STATE"/run/holders/*; do
    [[ -e $file ]] || continue
    pid=${file##*/}
    [[ $pid == "$$" ]] && continue
    process_is "$pid" dev && return 0
    rm -f "$file"
  done
  return 1
}

# with_lock COMMAND...: set-up and stopping run one at a time per checkout.
# The lock is a descriptor, so a crash frees it; servers are started with it closed.
with_lock() {
  exec 9>"$STATE/run/lock"
  if ! flock -n 9; then
    note "waiting for another ./dev of this checkout"
    flock 9
  fi
  "$@"
  exec 9>&-
}
