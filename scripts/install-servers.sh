#!/bin/sh
# Makes sure that this machine has what building and running the project needs:
# a C compiler and linker, PostgreSQL (13 or newer) and RabbitMQ.
#
#   scripts/install-servers.sh         that
#   scripts/install-servers.sh node    Node.js and npm too, which tests and the demo need
#
# Nothing is installed that is there already, nor a server whose address is
# given (DATABASE_URL, AMQP_URL). No server is started here, and a server that
# comes with a package is kept from starting: the harness runs private ones.
set -eu

case "${1:-}" in
    "" | node) with=${1:-} ;;
    *)
        printf 'install-servers: the argument is "%s": it can be "node"\n' "$1" >&2
        exit 64
        ;;
esac

# Oldest PostgreSQL that the migrations are written for.
POSTGRES_OLDEST=13

say() { printf 'install-servers: %s\n' "$*" >&2; }

# Where Debian, Fedora and the RabbitMQ project put what we look for. The same
# places are searched by tests/src/servers/.
has_postgres() {
    for candidate in /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres "$(command -v postgres || true)"; do
        [ -x "$candidate" ] || continue
        version=$("$candidate" --version 2>/dev/null | sed 's/[^0-9]*\([0-9]*\).*/\1/')
        [ "${version:-0}" -ge "$POSTGRES_OLDEST" ] && return 0
    done
    return 1
}

has_rabbitmq() {
    for candidate in /usr/lib/rabbitmq/bin /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin /opt/rabbitmq/sbin; do
        [ -x "$candidate/rabbitmq-server" ] && return 0
    done
    return 1
}

has_compiler() { command -v cc >/dev/null 2>&1; }

# Of any age: tests/src/npm.rs installs a newer Node.js for itself by npm.
has_node() { command -v node >/dev/null 2>&1; }
has_npm() { command -v npm >/dev/null 2>&1; }

wanted=""
has_compiler || wanted="$wanted gcc libc6-dev"
[ -n "${DATABASE_URL:-}" ] || has_postgres || wanted="$wanted postgresql"
[ -n "${AMQP_URL:-}" ] || has_rabbitmq || wanted="$wanted rabbitmq-server"
[ -z "$with" ] || has_node || wanted="$wanted nodejs"
[ -z "$with" ] || has_npm || wanted="$wanted npm"
[ -n "$wanted" ] || exit 0

missing() {
    say "missing here, and $1:"
    for package in $wanted; do
        case "$package" in
            gcc) say "  - a C compiler and linker named cc (Debian: gcc libc6-dev)" ;;
            postgresql) say "  - PostgreSQL $POSTGRES_OLDEST or newer (Debian: postgresql), or set DATABASE_URL to a server of yours" ;;
            rabbitmq-server) say "  - RabbitMQ 3.10 or newer (Debian: rabbitmq-server), or set AMQP_URL to a server of yours" ;;
            nodejs) say "  - Node.js, for tests and the demo (Debian: nodejs)" ;;
            npm) say "  - npm, for tests and the demo (Debian: npm)" ;;
        esac
    done
    exit 1
}

command -v apt-get >/dev/null 2>&1 || missing "there is no apt-get to install it with"
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || missing "only root can install it, but there is no sudo"
    as_root="sudo"
fi

# Debian's packages start their server once installed. A policy says no, for as
# long as this script lives: should it be killed, the policy removes itself.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$as_root rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # shellcheck disable=SC2016 # $0 is for the policy to read
    printf '#!/bin/sh\n[ -d /proc/%s ] && exit 101\nrm -f "$0"\nexit 0\n' "$$" | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi

say "installing:$wanted"
log=$(mktemp)
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1
}
# shellcheck disable=SC2086 # the list is meant to be split
if ! { apt update && apt install --no-install-recommends $wanted; }; then
    tail -n 30 "$log" >&2
    rm -f "$log"
    missing "apt-get could not install it (its last lines are above)"
fi
rm -f "$log"

# What was installed must be found where it is looked for.
left=""
has_compiler || left="$left gcc"
[ -n "${DATABASE_URL:-}" ] || has_postgres || left="$left postgresql"
[ -n "${AMQP_URL:-}" ] || has_rabbitmq || left="$left rabbitmq-server"
[ -z "$with" ] || has_node || left="$left nodejs"
[ -z "$with" ] || has_npm || left="$left npm"
if [ -n "$left" ]; then
    wanted="$left"
    missing "not found after its package was installed"
fi
say "done"
