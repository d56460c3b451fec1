#!/usr/bin/env bash
# Measures Countersign beside its peers in one run, prints a table and writes target/bench.json, one JSON object a line.
set -euo pipefail
cd "$(dirname "$0")/.."
interop/peers.sh bench
exec target/interop/venv/bin/python bench/run.py "$@"
