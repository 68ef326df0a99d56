#!/bin/sh
# A second opinion on what the EC2 provider sends: moto, which is not ours, plays
# EC2. It stores client tokens and does not honour them, so what keeps one key to
# one machine is shown by make test, on the fake in tests/ec2.
set -eu
cd "$(dirname "$0")/.."
version=5.2.5
python=$(command -v python3 || true)
if [ -z "$python" ]; then
	echo "missing: python3; moto is a Python program, and make test-moto does nothing without it" >&2
	exit 1
fi
venv=${XDG_CACHE_HOME:-$HOME/.cache}/understudy/moto-$version
if [ ! -x "$venv/bin/moto_server" ]; then
	echo "Installing moto $version into $venv, once."
	rm -rf "$venv"
	if ! "$python" -m venv "$venv" || ! "$venv/bin/pip" install --quiet "moto[ec2,server]==$version"; then
		rm -rf "$venv"
		echo "moto could not be installed; Debian has the virtual environments of Python in python3-venv" >&2
		exit 1
	fi
fi
MOTO_SERVER=$venv/bin/moto_server
export MOTO_SERVER
exec go test -count=1 -tags moto -run '^TestMoto' -v ./activities/compute/ec2
