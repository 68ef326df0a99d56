#!/bin/sh
# Records the histories that replay tests use, from scenes on real parts: all of
# them or those named, see tests/replay/record.
#
#   tests/histories.sh [SCENE...]
set -eu
cd "$(dirname "$0")/.."
tests/install.sh test
if [ -z "${UNDERSTUDY_BIN:-}" ]; then
	tests/build.sh bin/understudy "-s -w"
	UNDERSTUDY_BIN="$PWD/bin/understudy"
	export UNDERSTUDY_BIN
fi
exec go run ./tests/replay/record "$@"
