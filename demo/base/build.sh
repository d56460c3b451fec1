#!/usr/bin/env bash
# Makes the base image of the demo from real Debian packages: `build.sh LAYOUT` writes an OCI image layout with the tag `12`.
# It is kept as long as it is there: remove the folder to have it made anew with today's packages.
set -euo pipefail

layout=${1:?usage: build.sh LAYOUT}
[[ -e $layout/index.json ]] && exit 0
rm -rf "$layout.new"

mkdir -p "$(dirname "$layout")"
# In memory where there is room: unpacking packages is mostly waiting for the disk, and nothing here must survive a power cut.
scratch=${TMPDIR:-/tmp}
[[ -w /dev/shm && $(df --output=avail -k /dev/shm | tail -1) -gt 2000000 ]] && scratch=/dev/shm
work=$(mktemp -d -p "$scratch")
storage=(--root "$work/storage" --runroot "$work/run" --storage-driver vfs)
trap 'buildah "${storage[@]}" rm --all >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

# Without apt: nothing is installed later. Documentation goes, except the licences; the package database stays.
exclude='path-exclude=/usr/share'
TMPDIR=$work mmdebstrap --quiet --variant=essential --include=python3,python3-pip --dpkgopt=force-unsafe-io \
  --dpkgopt="$exclude/man/*" --dpkgopt="$exclude/locale/*" --dpkgopt="$exclude/info/*" --dpkgopt="$exclude/doc/*" \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --customize-hook='rm -rf "$1"/var/cache/* "$1"/var/log/* "$1"/var/lib/apt/lists/* "$1"/var/lib/dpkg/*-old' \
  --customize-hook='find "$1"/usr/lib -name __pycache__ -prune -exec rm -rf {} +' \
  bookworm "$work/rootfs.tar"

container=$(buildah "${storage[@]}" from scratch)
buildah "${storage[@]}" add --quiet "$container" "$work/rootfs.tar" / >/dev/null
buildah "${storage[@]}" config --cmd python3 --env PYTHONDONTWRITEBYTECODE=1 "$container"
buildah "${storage[@]}" commit --quiet --rm "$container" localhost/base:12 >/dev/null
buildah "${storage[@]}" push --quiet localhost/base:12 "oci:$work/layout:12"
cp -r "$work/layout" "$layout.new"
mv "$layout.new" "$layout"
