#!/bin/sh
# Builds the files of an image. Called by Understudy, as root, with these variables:
#
#   OUT     directory for the files, with the beginning of their names
#   WORK    empty directory to work in
#   INIT    slim or systemd
#   INCLUDE packages, with commas between them
#   SUITE, MIRROR  of Debian
#   SIZE    of the disk, such as 2G
#   FILES   list of what is copied into the image: from, to, mode, with tabs between
#   PARTS   directory with the scripts of slim images
set -eu
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
root=$WORK/root
tab=$(printf '\t')
tell() { echo "understudy: $*" >&2; }

base=busybox-static,cpio,ca-certificates,curl
[ "$INIT" = slim ] || base=$base,systemd-sysv,cloud-init,kmod,iproute2,udev,dbus,systemd-resolved
tell "debootstrap of $SUITE from $MIRROR"
quietly() {
	"$@" >"$WORK/log" 2>&1 || { tail -n 5 "$WORK/log" >&2; exit 1; }
}
quietly debootstrap --variant=minbase "$SUITE" "$root" "$MIRROR"
# The kernel comes as its package's files: no boot loader and no hooks are needed.
tell "kernel"
quietly chroot "$root" apt-get update -qq
# shellcheck disable=SC2016 # The shell in the image expands it.
quietly chroot "$root" sh -c 'cd /tmp && apt-get download -qq $(apt-cache depends linux-image-cloud-amd64 | sed -n "s/.*Depends: //p")'

# apt resolves what debootstrap cannot. Nothing is started in the image while it is built.
tell "packages"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
# shellcheck disable=SC2046 # They are separate words.
quietly chroot "$root" apt-get install -qq -y --no-install-recommends $(echo "$base${INCLUDE:+,$INCLUDE}" | tr , ' ')
rm "$root/usr/sbin/policy-rc.d"

chroot "$root" sh -c 'mkdir /tmp/kernel && dpkg-deb -x /tmp/linux-image-[0-9]*.deb /tmp/kernel'
version=$(ls "$root/tmp/kernel/lib/modules")
mv "$root/tmp/kernel/boot/vmlinuz-$version" "$OUT.vmlinuz"
mkdir -p "$root/lib/modules"
mv "$root/tmp/kernel/lib/modules/$version" "$root/lib/modules/"
rm -rf "$root/tmp/kernel" "$root"/tmp/*.deb
# The whole system's modprobe reads indexes that only its own depmod writes.
# shellcheck disable=SC2016 # The shell in the image expands it.
chroot "$root" sh -c 'PATH=$PATH:/usr/sbin:/sbin; if command -v depmod >/dev/null; then depmod "$1"; else busybox depmod "$1"; fi' depmod "$version"

# These bring the disk, and tell the hypervisor of a panic; all else is on the disk.
tell "first file system"
first=$root/tmp/initrd
mkdir -p "$first/bin" "$first/lib" "$first/dev" "$first/root" "$first/proc"
cp "$root/bin/busybox" "$first/bin/busybox"
cp "$PARTS/initrd.sh" "$first/init"
chmod 755 "$first/init"
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk pvpanic pvpanic-mmio; do
	file=$(find "$root/lib/modules/$version" -name "$module.ko")
	[ -z "$file" ] || { cp "$file" "$first/lib/"; echo "$module"; }
done >"$first/modules"
if [ "$INIT" = slim ]; then echo /sbin/understudy-init; else echo /sbin/init; fi >"$first/init-program"
chroot "$root" sh -c 'cd /tmp/initrd && find . | cpio --quiet -o -H newc | gzip -1' >"$OUT.initrd"
rm -rf "$first"

tell "files"
mkdir -p "$root/usr/local/lib/understudy" "$root/etc/understudy"
if [ "$INIT" = slim ]; then
	install -m 755 "$PARTS/slim.sh" "$root/sbin/understudy-init"
	install -m 755 "$PARTS/dhcp.sh" "$root/usr/local/lib/understudy/dhcp"
else
	mkdir -p "$root/etc/systemd/network" "$root/etc/cloud/cloud.cfg.d"
	printf '[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n' >"$root/etc/systemd/network/50-understudy.network"
	cp "$PARTS/cloud.cfg" "$root/etc/cloud/cloud.cfg.d/90-understudy.cfg"
	# Each machine has host keys of its own.
	[ ! -e "$root/usr/sbin/sshd" ] || sed -i '/^cloud_init_modules/s/]/, users-groups, ssh]/' "$root/etc/cloud/cloud.cfg.d/90-understudy.cfg"
	cp "$PARTS/document.service" "$root/etc/systemd/system/understudy-document.service"
	chroot "$root" systemctl enable -q systemd-networkd systemd-resolved serial-getty@ttyS0 understudy-document >/dev/null 2>&1 || true
	# An image does not change by itself: what changed is a new version.
	chroot "$root" systemctl mask -q apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service cloud-init-hotplugd.socket
	: >"$root/etc/machine-id"
	rm -f "$root/var/lib/dbus/machine-id" # else it would be every machine's
fi
printf '/dev/vda / ext4 rw,noatime 0 1\n' >"$root/etc/fstab"
[ ! -e "$root/etc/fuse.conf" ] || sed -i 's/^#user_allow_other/user_allow_other/' "$root/etc/fuse.conf"
while IFS=$tab read -r from to mode; do
	[ -n "$from" ] || continue
	mkdir -p "$root$(dirname "$to")"
	if [ -d "$from" ]; then cp -a "$from/." "$root$to/"; else install -m "$mode" "$from" "$root$to"; fi
done <"$FILES"
# shellcheck disable=SC2016 # These are for dpkg-query.
chroot "$root" dpkg-query -W -f '${Package} ${Version}\n' >"$WORK/packages"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/* "$root"/var/log/*

tell "disk of $SIZE"
truncate -s "$SIZE" "$WORK/disk"
mkfs.ext4 -q -F -L understudy -E lazy_itable_init=1 -d "$root" "$WORK/disk"
qemu-img convert -f raw -O qcow2 "$WORK/disk" "$OUT.qcow2"
