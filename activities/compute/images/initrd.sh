#!/bin/busybox sh
# shellcheck shell=dash
# Finds the disk and goes on from there.
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in $(/bin/busybox cat /modules); do /bin/busybox insmod "/lib/$module.ko"; done
n=0
while [ ! -b /dev/vda ] && [ $n -lt 100 ]; do
	n=$((n + 1))
	/bin/busybox sleep 0.05
done
if ! /bin/busybox mount -t ext4 /dev/vda /root; then
	echo "understudy: step disk failed it cannot be mounted" >/dev/console
	/bin/busybox poweroff -f
fi
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root "$(/bin/busybox cat /init-program)"
