#!/usr/bin/env bash
# Empty the project's inputs/ and outputs/, wherever this is called from; the folders stay.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
if [ -L inputs ]; then
  echo "error: $PWD/inputs is a link to $(readlink -f inputs); empty that folder yourself, or remove the link" >&2
  exit 2
fi
./clean_output.sh
mkdir -p inputs
find inputs/ -mindepth 1 -delete
