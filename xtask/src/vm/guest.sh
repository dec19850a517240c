#!/bin/bash
# The guest's first process after the change of root: mounts what a host has, runs the job, and says how it ended.
. /.netspan-vm/job.env
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin" HOME NETSPAN_KERNEL NETSPAN_BINARIES

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=755 run /run
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -sfn /proc/self/fd /dev/fd
ln -sfn /proc/self/fd/0 /dev/stdin
ln -sfn /proc/self/fd/1 /dev/stdout
ln -sfn /proc/self/fd/2 /dev/stderr
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t securityfs securityfs /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /lib/modules
ln -sfn "$guest_modules" "/lib/modules/$(uname -r)"
hostname netspan-vm
ip link set lo up
ulimit -n 65536

# Where a kernel stalls, it says the stacks at low levels.
echo 7 >/proc/sys/kernel/printk

echo "netspan-vm: job"
(
    cd "$guest_directory" || exit 126
    exec bash "$guest_job" "${guest_arguments[@]}"
) </dev/null 2>&1
verdict=$?
# The host ends the machine at this line. It is repeated, because the kernel may have spoken in the middle of it.
for _ in 1 2 3; do
    echo "netspan-vm: verdict $verdict"
    sleep 1
done
echo o >/proc/sysrq-trigger
sleep 60
