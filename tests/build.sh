#!/bin/bash
# Builds a program and shows how far the build is: a counter on a terminal, a
# plain line now and then elsewhere. What is built already takes seconds and
# few words.
#
#   tests/build.sh OUT LDFLAGS [PACKAGE]
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -lt 2 ]; then
	echo "usage: tests/build.sh OUT LDFLAGS [PACKAGE]" >&2
	exit 2
fi
out=$1 ldflags=$2 package=${3:-.}

# From this many packages on, a build takes long enough to say so beforehand.
many=1000
# A plain line each so many seconds is enough to show that a build lives.
plain_every=20

terminal=
if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ]; then terminal=yes; fi

# show replaces the line of progress; what is not on a terminal gets a line now and then.
shown=$SECONDS
show() {
	if [ -n "$terminal" ]; then
		printf '\r\033[K   %.100s' "$1"
	elif [ $((SECONDS - shown)) -ge $plain_every ]; then
		shown=$SECONDS
		printf '   %s\n' "$1"
	fi
}

wipe() {
	if [ -n "$terminal" ]; then printf '\r\033[K'; fi
}

# progress reads what go says while it works, counts, and hands on what it complains about.
progress() {
	local line fetched=0 compiled=0 total=$1
	while IFS= read -r line; do
		case $line in
		'go: downloading '*)
			fetched=$((fetched + 1))
			show "fetching modules: $fetched  ${line#go: downloading }"
			;;
		*[[:space:]:]*)
			wipe
			printf '%s\n' "$line" >&2
			;;
		*)
			compiled=$((compiled + 1))
			if [ "$compiled" -lt "$total" ]; then
				show "compiled $compiled of $total packages, $SECONDS s  $line"
			else
				show "linking, $SECONDS s"
			fi
			;;
		esac
	done
	wipe
}

# What the cache does not hold has to be compiled; to find out, go may have to fetch modules first.
stale=$(mktemp)
trap 'rm -f "$stale"' EXIT
go list -deps -f '{{if .Stale}}{{.ImportPath}}{{end}}' "$package" 2>&1 >"$stale" | progress 0
total=$(grep -c . "$stale" || true)
if [ "$total" -ge $many ]; then
	echo "Building $out: $total packages to compile. On 2 cores that takes about 4 minutes, once."
fi

mkdir -p "$(dirname "$out")"
go build -v -buildvcs=false -ldflags "$ldflags" -o "$out" "$package" 2>&1 | progress "$total"
echo "Built $out in $SECONDS s."
