# shellcheck shell=bash
# shellcheck disable=SC2016  # what runs as another user expands its own arguments
# Installs what the machine lacks. Presence is asked of the files that are used, not of the package manager, so that
# PostgreSQL or Rust from elsewhere are taken as they are.

# as_root COMMAND...: needs root or sudo; without either, one line names what to install by hand.
as_root() {
  if ((EUID == 0)); then
    "$@"
  elif sudo -n true 2>/dev/null; then
    sudo -n "$@"
  elif command -v sudo >/dev/null && [[ -t 0 ]]; then
    sudo "$@"
  else
    return 77
  fi
}

# Asks for sudo's password before output is redirected to a log, where a prompt would not be seen.
require_root_for() {
  if ((EUID == 0)); then return; fi
  if sudo -n true 2>/dev/null; then return; fi
  if command -v sudo >/dev/null && [[ -t 0 ]] && sudo -v; then return; fi
  fail "$1 must be installed; run ./dev as root or as a user with sudo, or install it by hand"
}

missing_packages() {
  command -v cc >/dev/null && command -v make >/dev/null || printf 'build-essential\n'
  command -v pkg-config >/dev/null || printf 'pkg-config\n'
  command -v curl >/dev/null || printf 'curl\n'
  command -v openssl >/dev/null || printf 'openssl\n'
  [[ -e /etc/ssl/certs/ca-certificates.crt ]] || printf 'ca-certificates\n'
  # The package manager keeps its index compressed with one of these; the demo reads it.
  command -v xz >/dev/null || printf 'xz-utils\n'
  command -v lz4 >/dev/null || printf 'lz4\n'
  command -v protoc >/dev/null || printf 'protobuf-compiler\n'
  [[ -e /usr/include/google/protobuf/descriptor.proto || -e /usr/local/include/google/protobuf/descriptor.proto ]] ||
    printf 'libprotobuf-dev\n'
  command -v redis-server >/dev/null || printf 'redis-server\n'
  rabbit_bin >/dev/null || printf 'rabbitmq-server\n'
  # Only an automatic build checks the scripts.
  [[ ${CI:-} != true ]] || command -v shellcheck >/dev/null || printf 'shellcheck\n'
  if [[ -z $(pg_installed_version) ]]; then
    printf 'postgresql\npostgresql-contrib\n'
  elif [[ ! -e $(pg_extensions)/pg_trgm.control || ! -e $(pg_extensions)/btree_gin.control ]]; then
    printf 'postgresql-contrib\n'
  fi
}

# The packages that bring a system service. Ours are private, so a service that only came with the installation is
# neither started now nor at the next boot; one that was there before is left alone.
service_of() {
  case $1 in
    postgresql) printf postgresql ;;
    redis-server | rabbitmq-server) printf '%s' "$1" ;;
  esac
}

# Answers "no" to packages that want to start their service. Ends with the subshell that sets it, also on Ctrl-C; one
# left behind by a killed run is known by its mark. An administrator's own policy is kept.
POLICY=/usr/sbin/policy-rc.d
POLICY_MARK="# made by tenantry's ./dev for one installation"

forbid_service_starts() {
  if [[ -e $POLICY ]] && ! grep -qxF "$POLICY_MARK" "$POLICY"; then
    return
  fi
  trap 'as_root rm -f "$POLICY"' EXIT
  trap 'exit 130' INT TERM HUP
  as_root sh -c 'printf "#!/bin/sh\n%s\nexit 101\n" "$2" >"$1" && chmod 0755 "$1"' sh "$POLICY" "$POLICY_MARK"
}

install_packages() {
  local package
  forbid_service_starts
  apt_install "$@"
  command -v systemctl >/dev/null || return 0
  for package in "$@"; do
    [[ -z $(service_of "$package") ]] || as_root systemctl disable --now "$(service_of "$package")" || true
  done
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "$@"
}

apt_update() { as_root apt-get update -o DPkg::Lock::Timeout=300; }

install_missing() {
  local packages=()
  mapfile -t packages < <(missing_packages)
  if ((${#packages[@]} > 0)); then
    command -v apt-get >/dev/null || fail "this machine has no apt-get; install by hand: ${packages[*]}"
    require_root_for "${packages[*]}"
    quietly "updating the package index" apt_update
    quietly "installing ${packages[*]}" install_packages "${packages[@]}"
  fi
  install_pgvector
}

# The oldest compiler that can build the workspace stands in Cargo.toml.
rust_wanted() { sed -nE 's/^rust-version = "([0-9.]+)"/\1/p' "$ROOT/Cargo.toml"; }

rust_is_new_enough() {
  local have
  command -v cargo >/dev/null && command -v rustc >/dev/null || return 1
  have=$(rustc --version 2>/dev/null | awk '{print $2}') || return 1
  version_at_least "$have" "$(rust_wanted)"
}

# version_at_least HAVE WANTED: compares dotted numbers.
version_at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

install_rust() {
  export PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
  rust_is_new_enough && return
  if command -v rustup >/dev/null; then
    quietly "installing rust $(rust_wanted) or newer" rustup toolchain install stable --no-self-update \
      --profile minimal --component clippy --component rustfmt
    # The machine's default toolchain is its owner's choice.
    export RUSTUP_TOOLCHAIN=stable
  else
    quietly "installing rust with rustup" install_rustup
  fi
  rust_is_new_enough || fail "rust $(rust_wanted) or newer is needed, found: $(rustc --version 2>&1)"
}

install_rustup() {
  local script=$STATE/rustup-init.sh
  curl --proto '=https' --tlsv1.2 --fail --silent --show-error --location --retry 3 https://sh.rustup.rs -o "$script"
  # An older Rust of the distribution may stay where it is.
  RUSTUP_INIT_SKIP_PATH_CHECK=yes sh "$script" -y --no-modify-path --profile minimal --component clippy --component rustfmt
  rm -f "$script"
}
