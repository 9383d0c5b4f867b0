#!/usr/bin/env bash
# Prints a digest of what gcloud would upload of this source: names and contents. deploy.sh labels each
# function with it, to know whether it was deployed from just this.
set -euo pipefail
cd "$(dirname "$0")/../.."
digest=(sha256sum) # an older macOS has it by its other name alone
command -v sha256sum >/dev/null || digest=(shasum -a 256)
files=$(gcloud meta list-files-for-upload .)
LC_ALL=C sort <<<"$files" | tr '\n' '\0' | xargs -0 "${digest[@]}" | "${digest[@]}" | cut -c1-40
