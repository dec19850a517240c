# For jobs: scenarios in turn, and at the end what failed, once more, where whoever reads a long log looks first.
# shellcheck shell=bash
lab=$NETSPAN_BINARIES/netspan-lab
said=$(mktemp) failures=$(mktemp)

# Runs a scenario of the lab; where it fails, the next ones still run.
try() {
    echo "== $*"
    "$lab" "$@" 2>&1 | tee "$said" || { echo "FAILED: $*"; cat "$said"; } | tee -a "$failures"
}

# A job's last command, whose exit code is the job's.
verdict() {
    cat "$failures"
    [[ ! -s $failures ]]
}
