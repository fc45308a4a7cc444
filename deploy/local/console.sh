# shellcheck shell=bash
# What the developer sees: one line per step, one line per failure, and the output of a command only when it failed.

say() { printf '%s\n' "$*"; }
note() { printf '  %s\n' "$*"; }

# Ends the command with one line that says what happened and what to do.
fail() {
  printf 'dev: %s\n' "$*" >&2
  exit 1
}

# quietly LABEL COMMAND...: runs the command with its output in .dev/log, and shows the end of it when it fails.
quietly() {
  local label=$1 log status started=$SECONDS
  shift
  log=$(printf '%s' "${label,,}" | tr -cs 'a-z0-9' '-')
  log=$STATE/log/${log:0:60}.log
  printf '  %s ... ' "$label"
  # Not as a condition: that would switch errexit off inside the command. The subshell keeps its `fail` from ending us mute.
  set +e
  (
    set -e
    "$@"
  ) >"$log" 2>&1 </dev/null
  status=$?
  set -e
  if ((status == 0)); then
    printf 'done (%d s)\n' "$((SECONDS - started))"
    return
  fi
  printf 'failed\n'
  tail -n 20 "$log" >&2
  fail "$label failed; the whole output is in ${log#"$ROOT"/}"
}

# wait_until SECONDS LABEL LOG COMMAND...: polls ten times a second; a failure names the log to read.
wait_until() {
  local limit=$1 label=$2 log=$3 deadline
  shift 3
  deadline=$((SECONDS + limit))
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= deadline)); then
      tail -n 5 "$log" >&2 || true
      fail "$label did not become ready within $limit s; see ${log#"$ROOT"/}"
    fi
    sleep 0.1
  done
}

# confirm QUESTION: true only for an explicit yes on a terminal.
confirm() {
  local answer
  [[ -t 0 ]] || return 1
  read -r -p "$1 [y/N] " answer
  [[ $answer == [yY] || $answer == [yY][eE][sS] ]]
}
