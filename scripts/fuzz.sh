#!/bin/sh
# Runs the fuzz targets of fuzz/, one after the other, each over the corpus that
# is kept beside it. With KEEP=1 what a run adds to a corpus is kept, minimised: an
# input only for code that no other reaches.
#
#   TARGETS="signature envelope"   these alone
#   RUNS=10000000                  executions of each (default 1,000,000)
#   SECONDS_EACH=60                or so long instead
#   KEEP=1                         write what was found new back into the corpus
#
# A finding stops the run. Its input is in fuzz/findings/<target>.
set -eu
cd "$(dirname "$0")/../fuzz"

ALL="signature envelope invoice session account refund properties command configuration"
TARGETS=${TARGETS:-$ALL}
LIMIT=-runs=${RUNS:-1000000}
[ -z "${SECONDS_EACH:-}" ] || LIMIT=-max_total_time=$SECONDS_EACH

# libFuzzer is C++.
if ! command -v c++ >/dev/null 2>&1; then
    if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ]; then
        echo "fuzz: a C++ compiler named c++ is missing (Debian: g++)" >&2
        exit 1
    fi
    apt-get install --yes --no-install-recommends g++ >&2
fi

cargo build --locked --release
host=$(rustc --print host-tuple)

for target in $TARGETS; do
    program=target/$host/release/$target
    case $target in
        envelope) dictionary=json ;;
        invoice | session | account | refund) dictionary=objects ;;
        *) dictionary=$target ;;
    esac
    work=target/corpus/$target
    mkdir -p "$work" "corpus/$target" "findings/$target"
    printf '\n== %s\n' "$target"
    # Silent for minutes otherwise: libFuzzer speaks when it finds new code.
    "$program" -dict=dictionaries/$dictionary.dict -max_len=1024 -timeout=5 \
        -rss_limit_mb=1024 -artifact_prefix="findings/$target/" \
        "$LIMIT" -print_final_stats=1 -verbosity=0 "$work" "corpus/$target" || {
        echo "fuzz: $target found something: see fuzz/findings/$target" >&2
        exit 1
    }
    if [ -n "${KEEP:-}" ]; then
        least=target/least/$target
        rm -rf "$least" && mkdir -p "$least"
        # What crashes is left out of a merge, without a word.
        "$program" -set_cover_merge=1 -use_counters=0 -verbosity=0 \
            -artifact_prefix="findings/$target/merge-" "$least" "corpus/$target" "$work"
        if ls "findings/$target/merge-"* >/dev/null 2>&1; then
            echo "fuzz: $target found something: see fuzz/findings/$target" >&2
            exit 1
        fi
        rm -rf "corpus/$target" && mv "$least" "corpus/$target"
    fi
done
