#!/usr/bin/env bash
# Runs the tests that carry the build tag kafka, and no others, against one real broker. The broker
# and its data are gone afterwards, whatever happens.
#
#   test.sh [flags of go test]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
broker=$PWD/internal/kafkatest/kafka-broker.sh

mapfile -t files < <(find . -name '*_test.go' -exec grep -lx '//go:build kafka' {} + | sort)
((${#files[@]})) || { echo "kafkatest: no test file has the line //go:build kafka" >&2; exit 1; }
mapfile -t packages < <(printf '%s\n' "${files[@]%/*}" | sort -u)
tests=$(sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' "${files[@]}" | sort -u | paste -sd '|')

FIRSTSEEN_KAFKA_RUN=$(mktemp -d)
export FIRSTSEEN_KAFKA_RUN
finish() {
  local code=$?
  ((code == 0)) || tail -n 20 "$FIRSTSEEN_KAFKA_RUN"/node-*/broker.log >&2 || true
  "$broker" clean
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

answer=$("$broker" start)
export "${answer?}" # KAFKA_BROKERS=..
# The packages share the broker, and some crash it: one package at a time.
"${GO:-go}" test -tags kafka -count=1 -p 1 -timeout 20m -run "^($tests)\$" "$@" "${packages[@]}"
