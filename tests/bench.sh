#!/bin/sh
# The table of figures: what a recovery takes and what an outage costs, beside
# bare loops and peers, on real parts. What is missing is installed and built
# first. Takes about twelve minutes, five of them for the batch of 100,000 items;
# names choose some: hot far. On a busy machine figures are worse for all.
#
#   tests/bench.sh [-rounds N] [-repeats N] [-items N] [NAME...]
set -eu
cd "$(dirname "$0")/.."
tests/install.sh test
# What virtual machines need is installed for those who ask for them; others have the row where it is there already.
case " $* " in *" vm "*) tests/install.sh vm ;; esac
if [ -z "${UNDERSTUDY_BIN:-}" ]; then
	tests/build.sh bin/understudy "-s -w"
	UNDERSTUDY_BIN="$PWD/bin/understudy"
	export UNDERSTUDY_BIN
fi
tests/build.sh bin/bench "-s -w" ./tests/bench
exec bin/bench "$@"
