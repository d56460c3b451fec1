#!/usr/bin/env bash
# Installs boto3, the AWS command line and the AWS Signer plugin for notation into target/interop. Versions are pinned here.
set -euo pipefail
cd "$(dirname "$0")/.."

# One botocore for both: the command line asks for exactly the one that it was released with.
PYTHON_PACKAGES=(boto3==1.44.8 awscli==1.46.3)
PLUGIN_MODULE=github.com/aws/aws-signer-notation-plugin
PLUGIN_VERSION=v1.0.350
PLUGIN=com.amazonaws.signer.notation.plugin

home=$PWD/target/interop
venv=$home/venv
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() { "$@" >"$log" 2>&1 || { tail -20 "$log" >&2; return 1; }; }

stamp=$venv/.installed-aws-$(printf '%s\n' "${PYTHON_PACKAGES[@]}" | sha256sum | cut -c1-12)
[[ -e $stamp ]] || { quietly "$venv/bin/pip" install --quiet "${PYTHON_PACKAGES[@]}" && touch "$stamp"; }

# The module proxy does not serve the plugin everywhere. Then AWS_SIGNER_PLUGIN may name the program, as somebody has it installed;
# without one its pairs are skipped, and say so.
plugin=$home/bin/notation-$PLUGIN
[[ -x $plugin ]] && exit
PATH=$venv/bin:$PATH
work=$(mktemp -d)
trap 'rm -rf "$log" "$work"' EXIT
if [[ -n ${AWS_SIGNER_PLUGIN:-} ]]; then
  cp "$AWS_SIGNER_PLUGIN" "$plugin"
elif GOBIN=$work go install "$PLUGIN_MODULE/cmd@$PLUGIN_VERSION" >"$log" 2>&1; then
  mv "$work/cmd" "$plugin"
else
  echo "the AWS Signer plugin cannot be had from the module proxy: set AWS_SIGNER_PLUGIN to the program" >&2
fi
