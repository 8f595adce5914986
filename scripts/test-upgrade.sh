#!/bin/sh
# Runs the worker of an earlier commit and the present one over one queue and one
# database, through the migrations between them, while events flow
# (tests/tests/it/side_by_side.rs). `make test-upgrade` builds the present one first.
#
#   scripts/test-upgrade.sh           the commit before the newest that added a migration
#   scripts/test-upgrade.sh a1b2c3d   this commit
#   ORDER=stop-first                  the earlier one is stopped before the present one
#                                     starts; else it runs beside it for a while
#
# docs/DATABASE.md says under "Upgrade notes" which migrations allow which order. The
# earlier worker is built in target/upgrade; to remove it, delete that folder.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'test-upgrade: %s\n' "$*" >&2; }

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
stack=$target/${PROFILE:-debug}/stack
flags=
[ "${PROFILE:-debug}" = debug ] || flags=--release

newest=$(git log -1 --diff-filter=A --format=%H -- migrations/*/up.sql)
if ! commit=$(git rev-parse --verify --quiet "${1:-$newest^}^{commit}"); then
    say "there is no commit \"${1:-$newest^}\" here: a shallow clone has not all of them"
    exit 64
fi

# A folder for each commit, with a build of its own: cargo tells by the times of files
# whether a crate is built already, wherever its workspace is.
source=$target/upgrade/$commit
if [ ! -d "$source" ]; then
    rm -rf "$source.new"
    mkdir -p "$source.new"
    git archive "$commit" | tar -x -C "$source.new"
    mv "$source.new" "$source"
fi
say "building the worker of $(git log -1 --format='%h (%s)' "$commit")"
# shellcheck disable=SC2086 # no flag is no argument
(cd "$source" && CARGO_TARGET_DIR=$source/target \
    cargo build --quiet --locked --package worker --bin worker $flags)
export EARLIER_WORKER="$source/target/${PROFILE:-debug}/worker" ORDER="${ORDER:-beside}"

say "an upgrade, $ORDER"
# shellcheck disable=SC2086 # no flag is no argument
exec "$stack" run -- cargo test --locked $flags --package harness --test it -- --ignored --exact --nocapture \
    side_by_side::an_upgrade_while_events_flow_ends_as_the_reference_says
