#!/usr/bin/env bash
# Runs the tests that carry the build tag kafka, and no others, against one real broker. All brokers
# and their data are gone afterwards, whatever happens.
#
#   test.sh [flags of go test]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
broker=$PWD/internal/kafkatest/kafka-broker.sh

mapfile -t files < <(find . -name '*_test.go' -exec grep -lx '//go:build kafka' {} + | sort)
((${#files[@]})) || { echo "kafkatest: no test file has the line //go:build kafka" >&2; exit 1; }
mapfile -t packages < <(printf '%s\n' "${files[@]%/*}" | sort -u)
tests=$(sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' "${files[@]}" | sort -u | paste -sd '|')

runs=$(mktemp -d) # the shared broker, and those that a test started for itself
export FIRSTSEEN_KAFKA_RUN=$runs/shared
finish() {
  local code=$? run
  ((code == 0)) || grep -hE '\] (WARN|ERROR|FATAL) ' "$runs"/shared/node-*/broker.log | tail -n 20 >&2 || true
  for run in "$runs"/*; do FIRSTSEEN_KAFKA_RUN=$run "$broker" clean; done
  rm -rf "$runs"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

answer=$("$broker" start)
export "${answer?}" # KAFKA_BROKERS=..
# The packages share the broker, and some crash it: one package at a time.
"${GO:-go}" test -tags kafka -count=1 -p 1 -timeout 20m -run "^($tests)\$" "$@" "${packages[@]}"
