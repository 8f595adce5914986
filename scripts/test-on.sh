#!/bin/sh
# Runs tests on the PostgreSQL and the RabbitMQ of another Debian suite, in a root of
# that suite and without a container engine. What this machine built runs there.
#
#   scripts/test-on.sh trixie                             all tests but those with Node.js
#   scripts/test-on.sh trixie -p worker --test it replay  what `cargo test` is given
#   scripts/test-on.sh forky --run target/release/bench   a program that is built already
#   REFRESH=1                                             makes the root anew
#
# The root is kept in .dev/roots/<suite>, about 1 GB; to remove it, delete that folder.
# The mounts are in a namespace that ends with the run.
#
# Exit codes: 69 if the root cannot be made or entered here, otherwise that of
# `cargo test` or of the program.
set -eu
cd "$(dirname "$0")/.."

# The servers, and what the tests run beside them (`script` is in bsdutils).
readonly PACKAGES=bsdutils,ca-certificates,gcc,git,libc6-dev,make,postgresql,rabbitmq-server

name=test-on
. scripts/debian-roots.sh

suite=${1:-}
case $suite in
    trixie | forky) shift ;;
    *)
        say "the suite is \"$suite\": it can be \"trixie\" or \"forky\""
        exit 64
        ;;
esac
# There is no Node.js in the root.
run=
if [ "${1:-}" = --run ]; then
    run=yes
    shift
fi
[ $# -gt 0 ] || set -- --workspace -- --skip nest:: --skip nest_ --skip stripe_npm:: --skip stripe_types::
roots=$PWD/.dev/roots
root=$roots/$suite
log=$roots/log
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
profile=${PROFILE:-debug}
[ "$profile" = debug ] || [ -n "$run" ] || set -- --release "$@"

make_root() {
    if [ -z "${REFRESH:-}" ] && [ "$(cat "$root.packages" 2>/dev/null)" = "$PACKAGES" ]; then
        return 0
    fi
    install_programs mmdebstrap
    say "making a root of $suite in $root"
    rm -rf "$root.new"
    # The index of a suite that is not released can be older than it says that it is
    # valid. Its signature is checked all the same.
    # shellcheck disable=SC2046 # no mirror is no argument
    private mmdebstrap --quiet --variant=apt --include=$PACKAGES \
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Check-Valid-Until "false"' \
        "$suite" "$root.new" $(mirror) >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        rm -rf "$root.new"
        unavailable "the root of $suite could not be made (the last lines of mmdebstrap are above)"
    }
    [ -s "$root.new/etc/hosts" ] || echo "127.0.0.1 localhost" >"$root.new/etc/hosts"
    rm -rf "$root" "$root.packages"
    mv "$root.new" "$root"
    printf '%s' "$PACKAGES" >"$root.packages"
}

[ "$(id -u)" -eq 0 ] || unavailable "only root can make a root of $suite and enter it"
private true 2>/dev/null || unavailable "this machine allows no mount namespace"
mkdir -m 700 -p "$roots"
exec 9>"$root.lock"
flock 9
make_root
flock -u 9
exec 9>&-

if [ -z "$run" ]; then
    say "building"
    flags=
    [ "$profile" = debug ] || flags=--release
    # shellcheck disable=SC2086 # no flag is no argument
    cargo build --quiet --locked --workspace --bins $flags
    cargo test --quiet --locked --no-run --no-fail-fast "$@" >/dev/null
    set -- "$target/$profile/stack" run -- cargo test --offline --locked --no-fail-fast "$@"
fi

version() { chroot "$root" dpkg-query --show --showformat '${Version}' "$1"; }
say "$suite: RabbitMQ $(version rabbitmq-server), PostgreSQL $(version postgresql)"

# Everything that cargo and the tests use is in the root at its own path.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
rustup_home=${RUSTUP_HOME:-$HOME/.rustup}
export CARGO_HOME="$cargo_home" RUSTUP_HOME="$rustup_home" CARGO_TARGET_DIR="$target"
unset DATABASE_URL AMQP_URL
# Cargo's own arguments end at `--`, behind which stand those of the test programs.
# shellcheck disable=SC2016 # the inner shell's variables
exec unshare --mount --propagation private sh -eu -c '
    root=$1 checkout=$2 target=$3 cargo_home=$4 rustup_home=$5
    shift 5
    mount --bind "$root" "$root"
    for folder in /proc /sys /dev; do mount --rbind "$folder" "$root$folder"; done
    for folder in "$cargo_home" "$rustup_home" "$checkout" "$target"; do
        [ -d "$folder" ] || continue
        mkdir -p "$root$folder"
        mount --bind "$folder" "$root$folder"
    done
    exec chroot "$root" env --chdir="$checkout" "$@"
' sh "$root" "$PWD" "$target" "$cargo_home" "$rustup_home" "$@"
