#!/usr/bin/env bash
# Empty the project's outputs/, wherever this is called from; the folders stay.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
mkdir -p outputs
find outputs/ -mindepth 1 -delete
mkdir -p outputs/{layer1,last_layer,sequences,images,final_tensors}
