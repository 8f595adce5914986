#!/bin/sh
# Changes the code on which no event is lost, one place at a time, and sees
# whether a test fails. Which files is said below; .cargo/mutants.toml says which
# changes make no difference.
#
#   ONLY=worker/src/events/claim.rs   this file alone
#   JOBS=2                            mutants at once
#   MODEL_HISTORIES=300               histories that each mutant is tried on
#
# What was caught and what was not is in target/mutants/<group>/mutants.out.
set -eu
export MODEL_HISTORIES=${MODEL_HISTORIES:-900} MODEL_SEED=${MODEL_SEED:-1}
cd "$(dirname "$0")/.."

# One at a time can share what was built for the group before.
[ "${JOBS:-1}" -gt 1 ] || export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target/mutants/build}"

command -v cargo-mutants >/dev/null 2>&1 || cargo install cargo-mutants --locked

# Each group of files with the tests that hold it: -C is for building them as well,
# which all tests of the package would take far longer. One that a mutant survives does
# not keep the next from being tried.
worst=0
run() {
    name=$1 package=$2 files=$3
    shift 3
    for file in $files; do
        case "${ONLY:-$file}" in
            "$file") set -- --file "$file" "$@" ;;
        esac
    done
    [ "$1" = --file ] || return 0
    mkdir -p "target/mutants/$name"
    cargo mutants --package "$package" --jobs "${JOBS:-1}" --output "target/mutants/$name" "$@" ||
        worst=$?
}

run signature ingest "ingest/src/signature/mod.rs ingest/src/signature/secrets.rs" \
    -C --lib -C --test=it -- -- signature::
run publish ingest "ingest/src/publish/connection_slot.rs ingest/src/publish/confirm_channel/in_flight/mod.rs
    ingest/src/publish/confirm_channel/confirms/mod.rs" \
    -C --lib -- -- publish::
run events worker "worker/src/events/*.rs worker/src/origin.rs worker/src/gather.rs
    worker/src/consume/acks.rs" \
    -C --lib -C --test=model -C --test=reading

exit "$worst"
