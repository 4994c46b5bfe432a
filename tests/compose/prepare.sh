#!/usr/bin/env bash
# Prepares what the compose cluster needs, without questions, on a fresh Debian 12 as root:
#   host packages, a running Docker engine, the base image, the search engine's archive, the node and frontend images.
# Every step looks first and is quick when its result is already there.
#
#   prepare.sh tools            what `cargo build` needs (protoc, a C linker), and as root what tests in network namespaces need
#   prepare.sh erlang           tools and the Erlang that the supervisors crate is compared with
#   prepare.sh host             tools, Docker engine, kernel setting for the search engine
#   prepare.sh bases            host, and every image layer that does not hold our own binaries
#   prepare.sh images           bases, then the images (SEARCH=6.8.23 | 7.17.29 | opensearch-2.19.1); builds the binaries
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
cache="$top/.cache"
search=${SEARCH:-6.8.23}
base=debian:bookworm-slim
mkdir -p "$cache"

say() { printf 'prepare: %s\n' "$*" >&2; }
fail() { printf 'prepare: %s\n' "$*" >&2; exit 1; }

# Installs the packages whose command is missing. Arguments: command=package ...
need() {
  local missing=() pair
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null 2>&1 || missing+=("${pair#*=}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || fail "missing: ${missing[*]}; run this as root, or install them yourself"
  command -v apt-get >/dev/null 2>&1 || fail "missing: ${missing[*]}, and this is not Debian: install them yourself"
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  if [ ! -e "$cache/apt-updated" ]; then
    apt-get -qq -o Acquire::Retries=3 update
    touch "$cache/apt-updated"
  fi
  apt-get -qq -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" >"$cache/apt.log" 2>&1 \
    || { tail -20 "$cache/apt.log" >&2; fail "apt-get install failed (whole log: $cache/apt.log)"; }
}

tools() {
  command -v cargo >/dev/null 2>&1 || fail "cargo is missing: install Rust first (https://rustup.rs), then run this again"
  need protoc=protobuf-compiler cc=gcc
  # The well-known types are a package of their own in the development files.
  [ -e /usr/include/google/protobuf/any.proto ] || [ -e /usr/local/include/google/protobuf/any.proto ] \
    || need /usr/include/google/protobuf/any.proto=libprotobuf-dev
  # Elsewhere those tests say that they are skipped.
  [ "$(id -u)" != 0 ] || need nft=nftables ip=iproute2 unshare=util-linux
  etcd_program
}

# An etcd for the tests of the coordination room: unpacked, not installed, so that no service starts on this host.
etcd_program() {
  [ ! -x /usr/bin/etcd ] && [ ! -x /usr/local/bin/etcd ] && [ ! -x "$cache/etcd/usr/bin/etcd" ] || return 0
  command -v apt-get >/dev/null 2>&1 || return 0
  mkdir -p "$cache/etcd"
  if ! (cd "$cache/etcd" && { apt-get -qq download etcd-server || { apt-get -qq update && apt-get -qq download etcd-server; }; } \
    && dpkg -x etcd-server_*.deb . && rm etcd-server_*.deb) >"$cache/apt.log" 2>&1; then
    say "etcd-server cannot be fetched (log: $cache/apt.log); the tests that need it will say that they are skipped"
  fi
}

erlang() {
  tools
  need escript=erlang-base erlc=erlang-base
}

host() {
  tools
  local id version
  id=$(. /etc/os-release && echo "${ID:-}"); version=$(. /etc/os-release && echo "${VERSION_ID:-}")
  # The binary is built here and runs in Debian 12 containers: a newer C library here would not start there.
  local libc
  libc=$(ldd --version 2>/dev/null | sed -n '1s/.* //p')
  if [ "$(printf '%s\n2.36\n' "${libc:-0}" | sort -V | tail -1)" != 2.36 ]; then
    fail "this host is $id $version with glibc $libc; the nodes are Debian 12 with glibc 2.36, so a binary built here would not \
start in them. Build on Debian 12: a virtual machine, or a Debian 12 container with this checkout, cargo and the Docker socket \
mounted, and run the same make target there."
  fi
  need docker=docker.io dockerd=docker.io debootstrap=debootstrap nsenter=util-linux nft=nftables
  docker compose version >/dev/null 2>&1 || need docker-compose=docker-compose
  engine
  # The engine's bootstrap check refuses to start below this.
  if [ "$(cat /proc/sys/vm/max_map_count)" -lt 262144 ]; then
    sysctl -q -w vm.max_map_count=262144 || say "vm.max_map_count stays $(cat /proc/sys/vm/max_map_count); the search engine will not start"
  fi
}

# Starts the Docker engine when there is none. It stays: whoever runs containers here needs it.
engine() {
  docker info >/dev/null 2>&1 && return 0
  [ "$(id -u)" = 0 ] || fail "the Docker engine does not answer; start it, or run this as root"
  if [ -d /run/systemd/system ]; then systemctl start docker || true; fi
  if ! docker info >/dev/null 2>&1; then
    say "starting dockerd (log: $cache/dockerd.log)"
    nohup dockerd >"$cache/dockerd.log" 2>&1 </dev/null &
    disown
  fi
  local tries=0
  until docker info >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 120 ] || { tail -20 "$cache/dockerd.log" >&2; fail "the Docker engine does not answer after 60 s"; }
    sleep 0.5
  done
}

# One mirror for everything: the one this host's apt uses.
mirror() {
  apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | grep -v security | head -1
}

base_image() {
  docker image inspect "$base" >/dev/null 2>&1 && return 0
  if timeout 180 docker pull -q "$base" >/dev/null 2>"$cache/pull.log"; then return 0; fi
  local site
  site=$(mirror); site=${site:-http://deb.debian.org/debian}
  say "no image registry reachable; building $base from $site"
  [ "$(id -u)" = 0 ] || fail "debootstrap needs root"
  local root="$cache/bookworm-root"
  rm -rf "$root"
  debootstrap --variant=minbase bookworm "$root" "$site" >"$cache/debootstrap.log" 2>&1 \
    || { tail -20 "$cache/debootstrap.log" >&2; fail "debootstrap failed (whole log: $cache/debootstrap.log)"; }
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  tar -C "$root" -c . | docker import -c 'CMD ["bash"]' -c 'LABEL leaderl.base=debootstrap' - "$base" >/dev/null
  rm -rf "$root"
}

# The engine's archive comes from Maven Central through Maven's own client.
search_archive() {
  local artifact file
  case "$search" in
    6.*) artifact="org.elasticsearch.distribution.zip:elasticsearch:$search:zip" file="elasticsearch-$search.zip" ;;
    7.*) artifact="org.elasticsearch.distribution.integ-test-zip:elasticsearch:$search:zip" file="elasticsearch-$search.zip" ;;
    opensearch-*) artifact="org.opensearch.distribution.integ-test-zip:opensearch:${search#opensearch-}:zip" file="$search.zip" ;;
    *) fail "SEARCH=$search is none of 6.8.23, 7.17.29, opensearch-2.19.1" ;;
  esac
  archive="$cache/search/$file"
  [ -s "$archive" ] && return 0
  if [ ! -s ~/.m2/repository/org/apache/maven/plugins/maven-dependency-plugin/3.6.1/maven-dependency-plugin-3.6.1.jar ]; then
    say "fetching $file with Maven"
  fi
  need mvn=maven java=default-jdk-headless
  mkdir -p "$cache/search"
  timeout 900 mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
    "-Dartifact=$artifact" "-DoutputDirectory=$cache/search" >"$cache/maven.log" 2>&1 \
    || { tail -20 "$cache/maven.log" >&2; fail "Maven could not fetch $artifact (whole log: $cache/maven.log)"; }
  [ -s "$archive" ] || fail "Maven fetched $artifact but not as $archive: $(ls "$cache/search")"
}

# Builds TAG from DOCKERFILE with context DIR unless an image of the same content is there.
build() {
  local tag=$1 dockerfile=$2 context=$3 content; shift 3
  content=$({ cat "$dockerfile"; printf '%s\n' "$@"; cd "$context" && find . -type f -print0 | sort -z | xargs -0 -r sha256sum; } | sha256sum | cut -c1-32)
  if [ "$(docker image inspect -f '{{index .Config.Labels "leaderl.content"}}' "$tag" 2>/dev/null)" = "$content" ]; then return 0; fi
  say "building image $tag"
  DOCKER_BUILDKIT=0 docker build -q -t "$tag" -f "$dockerfile" --label "leaderl.content=$content" "$@" "$context" >/dev/null 2>"$cache/build.log" \
    || { tail -40 "$cache/build.log" >&2; fail "building $tag failed (whole log: $cache/build.log)"; }
}

# A context holds exactly the files an image needs, so that its hash says whether the image is fresh.
context() {
  local dir="$cache/context/$1"; shift
  mkdir -p "$dir"
  find "$dir" -type f -delete
  local file
  for file in "$@"; do ln -f "$file" "$dir/" 2>/dev/null || cp "$file" "$dir/"; done
  printf '%s' "$dir"
}

# The binary as it goes into an image: without debug information, which is 90 % of it. `stripped NAME [debug|release]`
stripped() {
  local from="$top/target/${2:-debug}/$1" to="$cache/bin/${2:-debug}/$1"
  mkdir -p "$(dirname "$to")"
  [ -e "$from" ] || fail "$from is missing: cargo build failed?"
  if [ ! -e "$to" ] || [ "$from" -nt "$to" ]; then
    strip --strip-debug -o "$to.new" "$from" && touch -r "$from" "$to.new" && mv "$to.new" "$to"
  fi
  printf '%s' "$to"
}

# Everything but our own binaries.
bases() {
  host
  base_image
  search_archive
  build "leaderl-node-base:$search" "$here/image/node-base.Dockerfile" "$(context "node-base-$search" "$archive")" \
    --build-arg "BASE=$base" --build-arg "ARCHIVE=$(basename "$archive")"
  build leaderl-frontend-base "$here/image/frontend-base.Dockerfile" "$(context frontend-base "$here/image/haproxy-start")" \
    --build-arg "BASE=$base"
}

# What nofile.c is for: built only where this host's limit is too low for the engine's check.
nofile() {
  local to="$cache/bin/nofile.so"
  mkdir -p "$cache/bin"
  if [ "$(ulimit -Hn)" = unlimited ] || [ "$(ulimit -Hn)" -ge 65535 ]; then
    : >"$to"
  else
    [ -s "$to" ] && [ ! "$here/image/nofile.c" -nt "$to" ] || cc -shared -fPIC -O2 -o "$to" "$here/image/nofile.c" -ldl
  fi
  printf '%s' "$to"
}

# What wallclock.c is for.
wallclock() {
  local to="$cache/bin/wallclock.so"
  mkdir -p "$cache/bin"
  [ -s "$to" ] && [ ! "$here/image/wallclock.c" -nt "$to" ] || cc -shared -fPIC -O2 -o "$to" "$here/image/wallclock.c" -ldl
  printf '%s' "$to"
}

# BUILD_TARGETS: what cargo builds; `--all-targets` right after `cargo test` reuses what that has compiled.
# LEADERL_BUILD=release: the nodes run an optimised leaderl, as for `make bench`.
images() {
  bases
  local node frontend
  (cd "$top" && cargo build --quiet --workspace ${BUILD_TARGETS:---bins})
  if [ "${LEADERL_BUILD:-debug}" = release ]; then
    say "building leaderl optimised (several minutes the first time)"
    (cd "$top" && cargo build --quiet --release -p leaderl --bin leaderl)
  fi
  node=$(stripped leaderl "${LEADERL_BUILD:-debug}")
  build "leaderl-node:$search" "$here/image/node.Dockerfile" "$(context node "$node" "$(nofile)" "$(wallclock)")" --build-arg "BASE=leaderl-node-base:$search"
  frontend=$(stripped checker)
  build leaderl-frontend "$here/image/frontend.Dockerfile" "$(context frontend "$frontend")" --build-arg BASE=leaderl-frontend-base
}

case "${1:-images}" in
  tools) tools ;;
  erlang) erlang ;;
  host) host ;;
  bases) bases ;;
  images) images ;;
  *) fail "unknown step $1 (tools, erlang, host, bases, images)" ;;
esac
