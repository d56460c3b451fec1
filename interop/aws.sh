#!/usr/bin/env bash
# Runs the clients of AWS against Countersign over TLS: boto3, the AWS command line, and the AWS Signer plugin under the real notation.
# Ends with `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "installing the clients of AWS into target/interop" >&2
interop/peers.sh
interop/aws_peers.sh
exec target/interop/venv/bin/python interop/aws.py "$@"
