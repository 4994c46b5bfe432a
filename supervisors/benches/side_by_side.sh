#!/bin/sh
# The same measurements on this crate and on Erlang/OTP, one after the other on this machine (needs erlang-base).
set -eu
cd "$(dirname "$0")"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cargo bench --quiet -p supervisors --bench speed > "$out/rust"
erlc -o "$out" speed.erl
erl -noinput +S 2:2 -pa "$out" -run speed main > "$out/erlang"
printf '| measurement | supervisors | OTP | unit |\n|---|---|---|---|\n'
while read -r name value unit; do
    printf '| %s | %s | %s | %s |\n' "$name" "$value" "$(awk -v name="$name" '$1 == name { print $2 }' "$out/erlang")" "$unit"
done < "$out/rust"
