#!/bin/sh
# Records fresh scenarios on the Erlang of this machine (needs erlang-base) and runs them against the crate.
# differential.sh SEED COUNT [PROFILE...]: COUNT of each profile (public, deep, thin; all three if none is named).
# Scenarios whose trace differs between two runs on Erlang itself are told by the recorder and left out.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
seed=$1 count=$2
shift 2
[ $# -gt 0 ] || set -- public deep thin
fresh=$(mktemp -d)
for profile; do
    "$here/otpconf" random "$fresh/$profile-$seed.jsonl" --seed "$seed" --count "$count" --runs 2 --profile "$profile"
    set -- "$@" "$fresh/$profile-$seed.jsonl"
    shift
done
cd "$here"
if cargo run --quiet -p supervisors --example otp_conformance -- "$@"; then
    rm -r "$fresh"
else
    echo "the scenarios are kept in $fresh" >&2
    exit 1
fi
