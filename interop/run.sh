#!/usr/bin/env bash
# Runs every pair of Countersign and a foreign client over real sockets; ends with `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "installing the foreign clients into target/interop" >&2
interop/peers.sh
exec target/interop/venv/bin/python interop/run.py "$@"
