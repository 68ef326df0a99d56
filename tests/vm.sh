#!/bin/sh
# Real machines: images are built, pushed and booted under QEMU, a slim one and a
# whole Debian, by the same code as in a recovery. Installs what it needs. The
# conformance suite of libvirt machines comes first. Ends with a table of boot times.
# Images that were built before are taken again where nothing in them has changed.
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
	echo "make test-vm builds an image, and needs root for that." >&2
	exit 1
fi
if ! tests/install.sh vm; then
	[ -z "${UNDERSTUDY_NO_SKIP:-}" ] || exit 1
	# Where QEMU is, anything else that is missing is a mistake of ours.
	! command -v qemu-system-x86_64 >/dev/null || exit 1
	echo "skipped: no virtual machine was started, because QEMU cannot be installed here; missing: qemu-system-x86"
	exit 0
fi
PATH=$PATH:/usr/sbin:/sbin
export PATH
go test -tags vm -count=1 -timeout 4m ./activities/compute/libvirt
go test -tags vm -count=1 -timeout 10m -v -p 1 ./tests/ec2/guest ./tests/vm/killed
exec go test -tags vm -count=1 -timeout 30m -v -parallel 2 ./tests/vm
