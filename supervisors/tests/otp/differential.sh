#!/bin/sh
# Records fresh scenarios on the Erlang of this machine (needs erlang-base) and runs them against the crate.
# differential.sh SEED COUNT [public|deep]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
"$here/otpconf" random "$fresh" --seed "$1" --count "$2" --runs 2 --profile "${3:-deep}"
cargo run --quiet -p supervisors --example otp_conformance -- "$fresh"
