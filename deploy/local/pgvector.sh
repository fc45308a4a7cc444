# shellcheck shell=bash
# pgvector, from the distribution when that is recent enough, else built from Debian's or Ubuntu's own source package.

# Filtered vector search needs iterative index scans, which came with 0.8.
PGVECTOR_MINIMUM=0.8.0

pg_extensions() { printf '/usr/share/postgresql/%s/extension' "$(pg_installed_version)"; }

pgvector_installed() {
  local have
  have=$(sed -nE "s/^default_version *= *'([0-9.]+)'.*/\1/p" "$(pg_extensions)/vector.control" 2>/dev/null)
  [[ -n $have ]] && version_at_least "$have" "$PGVECTOR_MINIMUM"
}

install_pgvector() {
  local version package offered
  pgvector_installed && return
  version=$(pg_installed_version)
  [[ -n $version ]] || fail "PostgreSQL is not below /usr/lib/postgresql; install the distribution's package"
  package=postgresql-$version-pgvector
  require_root_for "pgvector for PostgreSQL $version"
  offered=$(apt-cache policy "$package" 2>/dev/null | sed -nE 's/^ *Candidate: ([0-9.]+).*/\1/p')
  if [[ -n $offered ]] && version_at_least "$offered" "$PGVECTOR_MINIMUM"; then
    quietly "installing $package" apt_install "$package"
  else
    quietly "building pgvector for PostgreSQL $version from source" build_pgvector "$version"
  fi
  pgvector_installed || fail "pgvector $PGVECTOR_MINIMUM or newer is not in $(pg_extensions) after its installation"
}

# Newer releases of the distribution that carry a recent pgvector, newest first: "release component".
pgvector_suites() {
  # shellcheck disable=SC1091
  case $(. /etc/os-release && printf '%s %s' "$ID" "${ID_LIKE:-}") in
    *ubuntu*) printf 'devel universe\nresolute universe\n' ;;
    *) printf 'sid main\ntrixie main\n' ;;
  esac
}

# The mirror that this machine already uses for its distribution.
apt_mirror() {
  local release
  # shellcheck disable=SC1091
  release=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
  # shellcheck disable=SC2016  # the placeholders are the package manager's
  apt-get indextargets --format '$(CREATED_BY)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)' |
    awk -F'|' -v release="$release" '$1 == "Packages" && $2 == release && $3 == "main" { print $4; exit }'
}

# The distribution's own signing keys, which sign its newer releases too.
apt_keyring() {
  local keyring
  for keyring in /usr/share/keyrings/{debian,ubuntu}-archive-keyring.gpg; do
    if [[ -e $keyring ]]; then
      printf '[signed-by=%s]' "$keyring"
      return
    fi
  done
}

# A package index of its own below .dev/: the machine's package sources stay as they are.
private_apt() {
  local command=$1 home=$STATE/pgvector/apt
  shift
  "$command" -o "Dir::Etc::SourceList=$home/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$home/lists" \
    -o "Dir::Cache=$home/cache" -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=" -o Acquire::Languages=none \
    -o "APT::Sandbox::User=$(id -un)" "$@"
}

fetch_pgvector_source() {
  local home=$STATE/pgvector/apt mirror suite components
  mirror=$(apt_mirror)
  [[ -n $mirror ]] || fail "no package mirror found in the machine's package sources"
  mkdir -p "$home/lists/partial" "$home/cache/archives/partial"
  while read -r suite components; do
    rm -f "$STATE"/pgvector/pgvector_*
    printf 'deb-src %s %s %s %s\n' "$(apt_keyring)" "$mirror" "$suite" "$components" >"$home/sources.list"
    if private_apt apt-get update && (cd "$STATE/pgvector" && private_apt apt-get source --download-only --tar-only pgvector); then
      return
    fi
  done < <(pgvector_suites)
  fail "no source package of pgvector at $mirror"
}

build_pgvector() {
  local version=$1 pg_config=/usr/lib/postgresql/$1/bin/pg_config
  rm -rf "$STATE/pgvector"
  mkdir -p "$STATE/pgvector/source"
  fetch_pgvector_source
  [[ -e /usr/include/postgresql/$version/server/postgres.h ]] || apt_install "postgresql-server-dev-$version"
  tar --extract --file "$(ls "$STATE"/pgvector/pgvector_*.orig.tar.*z)" --directory "$STATE/pgvector/source" --strip-components 1
  # OPTFLAGS is emptied: the default compiles for this very processor, and data directories move between machines.
  make -C "$STATE/pgvector/source" -j "$(nproc)" PG_CONFIG="$pg_config" OPTFLAGS= with_llvm=no
  as_root make -C "$STATE/pgvector/source" install PG_CONFIG="$pg_config" OPTFLAGS= with_llvm=no
  rm -rf "$STATE/pgvector"
}
