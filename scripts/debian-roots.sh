# Read by scripts that make a root of a Debian suite. They set `name`, which begins
# each of their lines, and `log`, the file for what other programs say.

# The exit code where this machine lacks what cannot be had here.
readonly UNAVAILABLE=69

say() { printf '%s: %s\n' "$name" "$*" >&2; }
unavailable() {
    say "$*"
    exit $UNAVAILABLE
}

# Runs a command whose mounts nobody else sees, and which end with it.
private() { unshare --mount --propagation private "$@"; }

# Installs those of these programs, each named like its Debian package, that are missing.
install_programs() {
    missing=
    for program in "$@"; do
        command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
    done
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null 2>&1 || unavailable "missing here, and there is no apt-get to install it with:$missing"
    say "installing:$missing"
    # shellcheck disable=SC2086 # the list is meant to be split
    { apt-get -q -y update && DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends $missing; } >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        unavailable "apt-get could not install:$missing (its last lines are above)"
    }
}

# The mirror that apt is configured with, where this is Debian. Without one mmdebstrap
# takes its own.
mirror() {
    if grep -qx 'ID=debian' /etc/os-release 2>/dev/null; then
        # shellcheck disable=SC2016 # apt-get fills this in
        apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null |
            grep -v -- '-security' | head -n 1
    fi
}
