#!/bin/bash
# A job: the guest is what other jobs expect of it.
set -euo pipefail
uname -r
case $(uname -r) in
    "$NETSPAN_KERNEL".*) ;;
    *) echo "this is not kernel $NETSPAN_KERNEL"; exit 1 ;;
esac
for kind in overlay proc sysfs devtmpfs tmpfs devpts tracefs bpf cgroup2; do
    grep -qw "$kind" <(cut -d' ' -f3 /proc/mounts) || { echo "no $kind is mounted"; exit 1; }
done
for file in /sys/kernel/btf/vmlinux /sys/kernel/tracing/events Cargo.toml; do
    test -e "$file" || { echo "$file is missing"; exit 1; }
done
touch /written-in-the-guest
ip -brief address show lo
