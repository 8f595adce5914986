#!/bin/sh
# Builds the images of the Dockerfile without a container engine, and has
# tests/tests/it/images.rs start them as docker-compose.yml would: one signed event has
# to end in its row.
#
#   REFRESH=1   makes the base images anew
#
# Buildah builds them. The base images that the Dockerfile names are made from Debian's
# packages and from the Rust toolchain of this machine, so nothing is pulled. All is kept
# in .dev/images, some 2 GB; to remove it, delete that folder.
#
# Exit codes: 69 if the images cannot be built here, otherwise that of `cargo test`.
set -eu
cd "$(dirname "$0")/.."

name=images-test
. scripts/debian-roots.sh

images=$PWD/.dev/images
log=$images/log
# Where the base image of the builder has the compiler, cargo's folder and what an
# earlier build left. The first two are bound in from this machine.
readonly TOOLCHAIN=/usr/local/rust CARGO_FOLDER=/usr/local/cargo BUILD_FOLDER=/var/cache/cargo

[ "$(id -u)" -eq 0 ] || unavailable "only root can make a root of Debian and enter it"
private true 2>/dev/null || unavailable "this machine allows no mount namespace"
mkdir -m 700 -p "$PWD/.dev" "$images"
mkdir -p "$images/build"
exec 9>"$images/lock"
flock 9

install_programs buildah mmdebstrap

# Not runc and no overlay: neither is there on a bare machine.
export BUILDAH_ISOLATION=chroot
buildah() {
    command buildah --root "$images/storage" --runroot "$images/run" --storage-driver vfs "$@"
}

# What is said only where it fails.
quietly() {
    "$@" >"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        say "$1 failed (its last lines are above)"
        return 1
    }
}

# The containers of an earlier run that was killed, and those of this one.
remove_containers() { buildah rm --all >/dev/null 2>&1 || true; }
trap remove_containers EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
remove_containers

# The name of the base image of this repository that the Dockerfile asks for.
base_image() { sed -n "s/^FROM \($1:[^ ]*\).*/\1/p" Dockerfile | sort -u; }

# Makes a base image, unless an earlier run has: the suite of its name, with these
# packages.
make_base() {
    image=$1 packages=$2
    shift 2
    if [ -z "${REFRESH:-}" ] && buildah inspect --type image "localhost/$image" >/dev/null 2>&1; then
        return 0
    fi
    suite=$(printf '%s' "$image" | grep -o bookworm) || unavailable "no suite of Debian is known for $image"
    say "making the base image $image"
    # shellcheck disable=SC2046 # no mirror is no argument
    quietly mmdebstrap --quiet --variant=minbase ${packages:+"--include=$packages"} \
        --aptopt='APT::Install-Recommends "false"' "$suite" "$images/base.tar" $(mirror) ||
        unavailable "$image cannot be made"
    container=$(buildah from scratch)
    quietly buildah add "$container" "$images/base.tar" /
    rm "$images/base.tar"
    # Of no base image: what its Dockerfile would say.
    [ $# -eq 0 ] || quietly buildah config "$@" "$container"
    quietly buildah commit --rm "$container" "localhost/$image"
}

sysroot=$(rustc --print sysroot)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
builder=$(base_image rust)
version=$(rustc --version | cut -d ' ' -f 2)
case $builder in
    "rust:${version%.*}-"*) ;;
    *) unavailable "the Dockerfile builds with $builder, and this machine's compiler is $version" ;;
esac
make_base "$(base_image debian)" ""
make_base "$builder" ca-certificates,gcc,libc6-dev \
    --env "PATH=$TOOLCHAIN/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    --env "CARGO_HOME=$CARGO_FOLDER" --env "CARGO_NET_OFFLINE=true" \
    --env "CARGO_BUILD_BUILD_DIR=$BUILD_FOLDER"

# The build itself asks nobody.
cargo fetch --quiet --locked

build_image() {
    say "building the image $1"
    quietly buildah bud --format docker --pull-never --target "$1" --tag "localhost/$1" \
        --volume "$sysroot:$TOOLCHAIN:ro" --volume "$cargo_home/registry:$CARGO_FOLDER/registry" \
        --volume "$images/build:$BUILD_FOLDER" .
}

# An image's configuration and its files, for the test.
lay_out() {
    container=$(buildah from --pull-never "localhost/$1")
    buildah inspect --type image "localhost/$1" >"$images/$1.json"
    ln -sfn "$(buildah mount "$container")" "$images/$1"
}

for service in ingest worker; do
    build_image "$service"
    lay_out "$service"
done

say "starting them"
IMAGES=$images cargo test --locked --package harness --test it -- --ignored --exact \
    images::the_images_run_as_compose_runs_them_and_an_event_ends_in_its_row
