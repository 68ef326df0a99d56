#!/bin/sh
# A speech service dies and comes back, on this machine, with real parts. What
# is missing is installed and built first. On a terminal it stays up until
# Ctrl-C; in a pipe, or with DEMO=once, it ends by itself.
set -eu
cd "$(dirname "$0")/.."
tests/install.sh demo
if [ -z "${UNDERSTUDY_BIN:-}" ]; then
	make --no-print-directory build
	UNDERSTUDY_BIN="$PWD/bin/understudy"
	export UNDERSTUDY_BIN
fi
tests/build.sh bin/demo "-s -w" ./tests/demo
exec bin/demo
