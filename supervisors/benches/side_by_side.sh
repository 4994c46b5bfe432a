#!/bin/sh
# The same measurements on this crate and on Erlang/OTP, by turns on this machine, as a table (needs erlang-base).
# side_by_side.sh [TURNS]: medians of so many turns, 5 if not said.
set -eu
cd "$(dirname "$0")"
turns=${1:-5}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Both get one pair of cores.
pin=$(command -v taskset >/dev/null && [ "$(nproc)" -gt 2 ] && echo "taskset -c 0,1" || true)
cargo bench --quiet -p supervisors --bench side_by_side --no-run
erlc -o "$out" side_by_side.erl
for _ in $(seq "$turns"); do
    $pin cargo bench --quiet -p supervisors --bench side_by_side >> "$out/rust"
    $pin erl -noinput +S 2:2 -pa "$out" -run side_by_side main >> "$out/erlang"
done
# The median of the lines with this name.
median() {
    awk -v name="$2" '$1 == name { print $2 }' "$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
printf '| measurement | supervisors | OTP | unit |\n|---|---|---|---|\n'
awk '!seen[$1]++ { print $1, $3 }' "$out/rust" | while read -r name unit; do
    printf '| %s | %s | %s | %s |\n' "$name" "$(median "$out/rust" "$name")" "$(median "$out/erlang" "$name")" "$unit"
done
