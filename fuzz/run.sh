#!/usr/bin/env bash
# Runs every fuzz target of every package for as long as it is told, two side by side with one
# worker each. What a target says comes in one piece; after one that fails none is started.
#
#   run.sh 20s
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fuzztime=$1

mapfile -t targets < <(grep -ro --include '*_test.go' '^func Fuzz[A-Za-z0-9_]*' . |
  sed 's|/[^/]*:func | |' | sort)
((${#targets[@]})) || { echo "fuzz: no test file has a func Fuzz" >&2; exit 1; }

outputs=$(mktemp -d)
trap 'rm -rf "$outputs"' EXIT

# A worker that is busy when the time is up fails its target with "context deadline exceeded"
# and no input (golang.org/issue/48591): that target is run once more.
fuzz() { # package target
  local try out
  echo "$1 $2"
  for try in 1 2; do
    if out=$("${GO:-go}" test -run '^$' -fuzz "^$2\$" -fuzztime "$fuzztime" -fuzzminimizetime 20x \
      -parallel 1 "$1" 2>&1 </dev/null); then
      tail -n 2 <<<"$out"
      return 0
    fi
    printf '%s\n' "$out"
    [[ $out == *"context deadline exceeded"* && $out != *"Failing input"* ]] || break
  done
  return 1
}

declare -A running=() # the number of the target, by the process
next() { # waits for one of them, and returns what it returned
  local process code=0
  wait -n -p process || code=$?
  cat "$outputs/${running[$process]}"
  unset "running[$process]"
  return "$code"
}

failed=0
for i in "${!targets[@]}"; do
  ((${#running[@]} < 2)) || next || { failed=1; break; }
  fuzz ${targets[i]} >"$outputs/$i" & # two words
  running[$!]=$i
done
while ((${#running[@]})); do next || failed=1; done
exit "$failed"
