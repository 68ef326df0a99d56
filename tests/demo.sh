#!/bin/sh
# A speech service dies and comes back, on this machine, with real parts. What
# is missing is installed and built first. On a terminal it stays up until
# Ctrl-C; in a pipe, or with DEMO=once (DEMO_ONCE=1), it ends by itself. With
# DEMO=vm the standby is a real machine, for which root builds an image.
set -eu
cd "$(dirname "$0")/.."
tests/install.sh demo
[ "${DEMO:-}" != vm ] || tests/install.sh vm
if [ -z "${UNDERSTUDY_BIN:-}" ]; then
	make --no-print-directory build
	UNDERSTUDY_BIN="$PWD/bin/understudy"
	export UNDERSTUDY_BIN
fi
tests/build.sh bin/demo "-s -w" ./tests/demo
exec bin/demo
