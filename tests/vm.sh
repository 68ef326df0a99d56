#!/bin/sh
# Real machines: an image is built, pushed and booted under QEMU, by the same
# code as in a recovery. Installs what it needs. The conformance suite of
# libvirt machines comes first.
set -eu
cd "$(dirname "$0")/.."
tests/install.sh vm
if [ "$(id -u)" != 0 ]; then
	echo "make test-vm builds an image, and needs root for that." >&2
	exit 1
fi
PATH=$PATH:/usr/sbin:/sbin
export PATH
go test -tags vm -count=1 -timeout 4m ./activities/compute/libvirt
# The whole Debian takes another 4 minutes: DEBIAN=1 make test-vm.
skip=WholeDebian
[ -z "${DEBIAN:-}" ] || skip=
exec go test -tags vm -count=1 -timeout 9m -v ${skip:+-skip "$skip"} ./tests/vm
