#!/bin/sh
# The API's document, as strangers read it: a linter's rules hold, and a client
# that a public generator makes of it starts a recovery of a real scene.
set -eu
cd "$(dirname "$0")/.."
linter=2.77.0
generator=0.29.1
for program in python3 npx; do
	if ! command -v "$program" >/dev/null; then
		echo "missing: $program; the generator is a Python program, the linter one of Node.js (Debian: python3-venv, npm)" >&2
		exit 1
	fi
done
venv=${XDG_CACHE_HOME:-$HOME/.cache}/understudy/openapi-python-client-$generator
if [ ! -x "$venv/bin/openapi-python-client" ]; then
	echo "Installing openapi-python-client $generator into $venv, once."
	rm -rf "$venv"
	if ! python3 -m venv "$venv" || ! "$venv/bin/pip" install --quiet "openapi-python-client==$generator"; then
		rm -rf "$venv"
		echo "openapi-python-client could not be installed; Debian has the virtual environments of Python in python3-venv" >&2
		exit 1
	fi
fi
PATH=$venv/bin:$PATH OPENAPI_LINTER="@redocly/cli@$linter"
export PATH OPENAPI_LINTER
exec go test -count=1 -tags client -v ./tests/client
