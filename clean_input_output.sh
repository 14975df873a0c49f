#!/usr/bin/env bash
# Empty the project's inputs/ and outputs/, wherever this is called from; the folders stay.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
./clean_output.sh
mkdir -p inputs
find inputs/ -mindepth 1 -delete
