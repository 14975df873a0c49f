#!/usr/bin/env bash
# Empty the project's outputs/, wherever this is called from; the folders stay.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
if [ -L outputs ]; then
  echo "error: $PWD/outputs is a link to $(readlink -f outputs); empty that folder yourself, or remove the link" >&2
  exit 2
fi
mkdir -p outputs
find outputs/ -mindepth 1 -delete
mkdir -p outputs/{layer1,last_layer,sequences,images,final_tensors}
