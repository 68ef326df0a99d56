#!/bin/sh
# What can be seen without running anything: format, vet, determinism of workflows.
set -eu
cd "$(dirname "$0")/.."
unformatted=$(gofmt -l $(git ls-files '*.go'))
if [ -n "$unformatted" ]; then
	echo "gofmt would change:" $unformatted >&2
	exit 1
fi
go vet ./...
go run go.temporal.io/sdk/contrib/tools/workflowcheck@v0.6.0 -config tests/workflowcheck.yaml ./workflows/... ./runbooks/...
echo "check: format, vet and workflowcheck are clean"
