#!/bin/sh
# The guest's first process: loads modules, mounts the host's root under an overlay, and hands over to guest.sh.
stop() {
    echo "netspan-vm: stopped: $1"
    poweroff -f
}
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/modules/$module" || echo "netspan-vm: insmod $module failed"
done </order
mount -t virtiofs root /ro -o ro || stop "no root"
mount -t tmpfs -o mode=755 tmp /rw
mkdir /rw/upper /rw/work
mount -t overlay overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work /new || stop "no overlay"
mkdir /new/.netspan-vm || stop "no place for the job"
cp /guest.sh /job.env /new/.netspan-vm/
exec switch_root /new /bin/bash /.netspan-vm/guest.sh
