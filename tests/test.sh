#!/bin/sh
# Every test, on real parts. Installs what it needs, builds the program once,
# then runs the suites and says how long each took.
set -eu
cd "$(dirname "$0")/.."
tests/install.sh test
tests/build.sh bin/understudy "-s -w"
UNDERSTUDY_BIN="$PWD/bin/understudy"
export UNDERSTUDY_BIN
tests/check.sh
exec go run ./tests/suites "$@"
