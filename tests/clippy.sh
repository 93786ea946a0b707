#!/usr/bin/env bash
# What `RUSTC_WORKSPACE_WRAPPER` names in `make lint`: Clippy in the place of rustc, for the crates of this workspace.
# `cargo clippy` would check all dependencies once more, after `make test` has compiled them: minutes of two cores. With
# this `cargo build` takes them as they are; only the workspace's own crates are read anew, and no code is made of them.
set -euo pipefail

arguments=()
for argument in "$@"; do
  case $argument in
    --emit=*link*) argument=--emit=dep-info,metadata ;;
    # A crate of the workspace that this script has looked at has metadata only.
    *=*.rlib) path=${argument#*=}; [ -e "$path" ] || argument=${argument%.rlib}.rmeta ;;
  esac
  arguments+=("$argument")
done
CLIPPY_ARGS=--deny__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__ exec clippy-driver "${arguments[@]}"
