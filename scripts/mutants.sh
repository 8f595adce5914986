#!/bin/sh
# Changes the code on which no event is lost, one place at a time, and sees
# whether a test fails. Which files is said below; .cargo/mutants.toml says which
# changes make no difference.
#
#   ONLY=worker/domain/src/by_claim.rs   this file alone
#   GROUP=domain                         this group alone
#   JOBS=2                               mutants at once
#   MODEL_HISTORIES=300                  histories that each mutant is tried on
#
# What was caught and what was not is in target/mutants/<group>/mutants.out.
set -eu
export MODEL_HISTORIES=${MODEL_HISTORIES:-900} MODEL_SEED=${MODEL_SEED:-1}
cd "$(dirname "$0")/.."

# One at a time can share what was built for the group before.
[ "${JOBS:-1}" -gt 1 ] || export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target/mutants/build}"

command -v cargo-mutants >/dev/null 2>&1 || cargo install cargo-mutants --locked

# A group of files of one package.
group() {
    name=$1 package=$2 chosen=
    [ "${GROUP:-$name}" = "$name" ] || return 0
    for file in $3; do
        case "${ONLY:-$file}" in
            "$file") chosen="$chosen --file $file" ;;
        esac
    done
    mkdir -p "target/mutants/$name"
}

# Tries the mutants of the group with these tests. -C is for building them as well,
# which all tests of the package would take far longer.
with() {
    [ -n "$chosen" ] || return 0
    status=0
    # Not quoted: an option and a file for each.
    # shellcheck disable=SC2086
    cargo mutants --package "$package" $chosen --jobs "${JOBS:-1}" \
        --output "target/mutants/$name" "$@" || status=$?
    case $status in
        # All were caught; some were not, or never ended.
        0 | 2 | 3) ;;
        *) exit "$status" ;;
    esac
}

# Tries what was not caught so far with other tests, which take longer.
then_with() {
    with --iterate "$@"
}

# What survives one group does not keep the next from being tried.
worst=0 status=0
done_with_group() {
    [ "$status" -le "$worst" ] || worst=$status
    status=0
}

group signature ingest "ingest/src/signature/mod.rs ingest/src/signature/secrets.rs"
with -C --lib -C --test=it -- -- signature::
done_with_group

group publish ingest "ingest/src/publish/current_connection.rs
    ingest/src/publish/confirm_channel/in_flight/mod.rs
    ingest/src/publish/confirm_channel/confirms/mod.rs"
with -C --lib -- -- publish::
done_with_group

# A change to `domain` has the worker built anew, so its model is the second to try.
group domain domain "worker/domain/src/*.rs"
with -C --lib
then_with --test-package worker -C --test=it -- -- model:: reading::
done_with_group

# Those parts of a batch that neither read nor write.
group pipeline worker "worker/src/pipeline/acks.rs worker/src/pipeline/admission.rs
    worker/src/pipeline/batch.rs worker/src/pipeline/decision.rs
    worker/src/pipeline/delivery.rs worker/src/pipeline/ledger_rows.rs
    worker/src/pipeline/replay_outcomes.rs worker/src/amqp/properties_json.rs
    worker/src/dead_letters/death.rs"
with -C --lib
then_with -C --test=it -- -- model:: reading::
done_with_group

exit "$worst"
