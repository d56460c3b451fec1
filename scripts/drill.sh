#!/usr/bin/env bash
# Rehearses a disaster with real processes on this machine, and ends with `N passed, N failed`.
#
#   drill.sh restore        the data folder is lost and restored from a backup that was made under load
#   drill.sh intermediate   the signing intermediate is compromised: revoked, replaced, deployments signed again
#
# The guides are docs/guides/restore.md and docs/guides/loss-of-intermediate.md; this runs their commands.
set -euo pipefail
cd "$(dirname "$0")/.."

drill=${1:-}
countersign=$PWD/target/${COUNTERSIGN_PROFILE:-debug}/countersign
work=$(mktemp -d "${TMPDIR:-/tmp}/countersign-drill-XXXXXX")
chmod 711 "$work"
mkdir -p "$work/config" "$work/docker" "$work/home"
export HOME=$work/home DOCKER_CONFIG=$work/docker COUNTERSIGN_CONFIG=$work/config
unset COUNTERSIGN_TOKEN COUNTERSIGN_SERVER
passed=0 failed=0 server=

finish() {
  local code=$?
  [[ -z $server ]] || { kill "$server" && wait "$server"; } 2>/dev/null || true
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT

step() { printf '\n== %s\n' "$*"; }

# check TEXT COMMAND…: counts whether the command succeeds.
check() {
  local text=$1
  shift
  if "$@" >"$work/out" 2>&1; then
    passed=$((passed + 1))
    echo "ok      $text"
  else
    failed=$((failed + 1))
    echo "FAILED  $text"
    tail -12 "$work/out" | sed 's/^/        /'
  fi
}

# exits CODE COMMAND…: whether it exits with the code.
exits() {
  local expected=$1 code=0
  shift
  "$@" || code=$?
  [[ $code -eq $expected ]] || { echo "exit code $code, expected $expected"; return 1; }
}

# says TEXT COMMAND…: whether it says the text, whatever its exit code.
says() {
  local text=$1 said
  shift
  said=$("$@" 2>&1) || true
  echo "$said"
  [[ $said == *"$text"* ]]
}

secret() { (umask 077 && head -c 24 /dev/urandom | base64 >"$1"); }

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

start() {
  "$countersign" serve --data "$data" --listen "$host" --unlock-file "$work/unlock" >>"$work/server.log" 2>&1 &
  server=$!
  for _ in $(seq 300); do
    curl -sf "$url/pki/chain.pem" >/dev/null && return
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  tail -5 "$work/server.log"
  server=
  return 1
}

# Whether the server ends by itself, with an error and this reason.
does_not_start() {
  local code=0
  timeout 30 "$countersign" serve --data "$data" --listen "$host" --unlock-file "$work/unlock" >"$work/refused.log" 2>&1 || code=$?
  cat "$work/refused.log"
  [[ $code -ne 0 && $code -ne 124 ]] && grep -q -- "$1" "$work/refused.log"
}

stop() { kill -"${1:-TERM}" "$server"; wait "$server" 2>/dev/null || true; server=; }

login() { "$countersign" login "$host" --username admin --password-stdin <"$data/admin.token"; }

# artifact NAME: pushes one; signed NAME: signs it as well.
artifact() { (cd "$work" && echo "$1" >"$1.txt" && "$countersign" push "$host/drill/$1:1" "$1.txt:text/plain"); }
sign() { "$countersign" sign "$host/drill/$1:1" --profile drill --server "$url" --output json; }
signed() { artifact "$1" && sign "$1"; }
verify() { "$countersign" verify "$host/drill/$1:1"; }

# trust our root for our profile, as a verifier elsewhere would.
trust() {
  curl -sf "$url/pki/root.pem" >"$work/root.pem"
  "$countersign" trust store add --type signingAuthority --name drill "$work/root.pem"
  cat >"$work/policy.json" <<JSON
{"version":"1.0","trustPolicies":[{"name":"drill","registryScopes":["*"],"signatureVerification":{"level":"strict"},
"trustStores":["signingAuthority:drill"],"trustedIdentities":["x509.subject: C=US, ST=WA, O=Countersign, CN=drill"]}]}
JSON
  "$countersign" trust policy import --force "$work/policy.json"
}

root_options() { printf '%s\n' --root-dir "$work/root" --root-unlock-file "$work/root-passphrase"; }

# An installation whose root is in a folder of its own, with one profile.
install() {
  port=$(free_port) host=127.0.0.1:$port url=http://127.0.0.1:$port data=$work/data
  secret "$work/unlock"
  secret "$work/root-passphrase"
  mapfile -t root < <(root_options)
  check "the ceremony makes an authority" "$countersign" ca init --data "$data" --unlock-file "$work/unlock" "${root[@]}" --public-url "$url" --yes
  check "the root's key is not below the data folder" test -z "$(find "$data" -name 'root.key')"
  check "the server starts" start
  check "the administrator logs in" login
  check "a profile is made" "$countersign" profile create drill --validity '7 days' --account admin --server "$url"
  check "a verifier trusts the root" trust
}

restore_drill() {
  step "an installation, and what it signed"
  install
  check "an artifact is signed" signed before
  check "it verifies" verify before

  step "a backup while the server signs"
  (for number in $(seq 10); do signed "during-$number"; done) >"$work/load.log" 2>&1 &
  local load=$!
  check "the backup is made" "$countersign" backup --data "$data" "$work/backup"
  check "signing went on meanwhile" wait "$load"
  check "the secret that unlocks the keys is not in the backup" exits 1 grep -rqF "$(cat "$work/unlock")" "$work/backup"
  check "nor is the root's key" test -z "$(find "$work/backup" -name 'root.key')"
  check "what is signed after the backup verifies now" signed after

  step "the machine is lost"
  stop KILL
  rm -rf "$data"

  step "restored from the backup"
  cp -a "$work/backup" "$data"
  mv "$work/unlock" "$work/unlock.kept"
  secret "$work/unlock"
  check "another unlocking secret does not open it" does_not_start "does not open key"
  mv "$work/unlock.kept" "$work/unlock"
  check "the server starts" start
  check "what was signed before the backup verifies" verify before
  check "the trust anchor is the same" cmp "$work/root.pem" <(curl -sf "$url/pki/root.pem")
  check "what was signed after the backup is gone" exits 3 verify after
  check "it signs again" signed again
  check "what it signs verifies" verify again
  local job
  job=$(sign before | python3 -c 'import json, sys; print(json.load(sys.stdin)["job"])')
  check "it revokes again" "$countersign" signature revoke "$job" --reason drill --server "$url"
}

intermediate_drill() {
  step "an installation, and two artifacts that are deployed"
  install
  check "the first is signed" signed one
  check "the second is signed" signed two
  check "both verify" eval 'verify one && verify two'
  local old
  old=$(curl -sf "$url/pki/chain.pem" | openssl x509 -noout -ext subjectKeyIdentifier | tail -1 | tr -d ' :' | tr 'A-F' 'a-f')

  step "the intermediate is compromised: the root revokes it"
  stop
  check "the root revokes the intermediate" "$countersign" ca revoke "${root[@]}" "$data/signer/keys/intermediate.pem" --out "$work/new.crl" --yes
  check "the list is brought in" "$countersign" ca import --data "$data" --unlock-file "$work/unlock" "$work/new.crl"
  check "the server does not start with it, and says why" does_not_start "is revoked by the root"

  step "another intermediate"
  check "the root certifies the next" "$countersign" ca renew --data "$data" --unlock-file "$work/unlock" "${root[@]}" --public-url "$url" --yes
  check "the first is shown as revoked" says revoked "$countersign" ca show --data "$data"
  check "the server starts" start
  check "the trust anchor is the same" cmp "$work/root.pem" <(curl -sf "$url/pki/root.pem")

  step "what the old one signed is refused; what is deployed is signed again"
  check "the first artifact is refused" exits 5 verify one
  check "as revoked" says signature-revoked verify two
  check "the first is signed again" sign one
  check "the first is accepted" verify one
  check "the second is still refused" exits 5 verify two
  check "the second is signed again" sign two
  check "the second is accepted" verify two
  check "the old intermediate's list is still there" curl -sf "$url/pki/crl/$old.crl" -o "$work/old.crl"
  check "and signed by it" openssl crl -inform DER -in "$work/old.crl" -CAfile "$data/signer/keys/intermediate.pem" -noout
  check "a fresh list of the root still revokes it" eval '"$countersign" ca revoke "${root[@]}" --out "$work/fresh.crl" &&
    openssl crl -inform DER -in "$work/fresh.crl" -noout -text | grep -q "Serial Number"'
}

case $drill in
  restore) restore_drill ;;
  intermediate) intermediate_drill ;;
  *) echo "usage: drill.sh restore|intermediate" >&2; exit 2 ;;
esac
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[[ $failed -eq 0 ]]
