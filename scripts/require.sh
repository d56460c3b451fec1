#!/usr/bin/env bash
# Makes sure that what a target needs is there: `require.sh demo|test|interop|bench|lint`.
#
# On Debian 12 (or a later one) as root, missing packages are installed. Anywhere else this names
# what is missing and how to get it, and exits 2 before anything was done by halves.
set -euo pipefail

target=${1:?usage: require.sh TARGET}

# command:Debian package
base="cc:gcc make:make git:git"
engines="buildah:buildah podman:podman runc:runc skopeo:skopeo catatonit:catatonit"
case $target in
  lint)    need="$base" ;;
  test)    need="$base $engines docker-registry:docker-registry busybox:busybox-static softhsm2-util:softhsm2" ;;
  demo)    need="$base $engines mmdebstrap:mmdebstrap python3:python3 pip3:python3-pip" ;;
  interop) need="$base $engines docker-registry:docker-registry python3:python3 pip3:python3-pip openssl:openssl curl:curl busybox:busybox-static softhsm2-util:softhsm2 pkcs11-tool:opensc" ;;
  bench)   need="$base $engines docker-registry:docker-registry python3:python3 pip3:python3-pip openssl:openssl curl:curl wrk:wrk busybox:busybox-static" ;;
  *) echo "require.sh: unknown target \`$target\`" >&2; exit 2 ;;
esac

# `command -v` misses programs in sbin for ordinary users.
PATH=$PATH:/usr/sbin:/sbin

command -v cargo >/dev/null || {
  echo "missing: a Rust toolchain (https://rustup.rs), $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer" >&2
  exit 2
}

missing=()
for pair in $need; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
# Python's venv module is a package of its own on Debian.
if [[ $target == interop || $target == bench ]] && ! python3 -c 'import ensurepip' 2>/dev/null; then
  missing+=(python3-venv)
fi
[[ ${#missing[@]} -eq 0 ]] && exit 0

debian=$(. /etc/os-release 2>/dev/null && [[ ${ID:-} == debian ]] && echo "${VERSION_ID:-0}" || echo 0)
if [[ ${debian%%.*} -ge 12 && $(id -u) -eq 0 ]]; then
  echo "installing: ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 || {
    tail -20 "$log" >&2
    echo "could not install: ${missing[*]}" >&2
    exit 2
  }
  rm -f "$log"
  exit 0
fi

{
  echo "missing for \`make $target\`: ${missing[*]}"
  if [[ ${debian%%.*} -ge 12 ]]; then
    echo "as root: apt-get install --no-install-recommends ${missing[*]}"
  else
    echo "these are Debian 12's package names; install their like with your system's package manager"
  fi
} >&2
exit 2
