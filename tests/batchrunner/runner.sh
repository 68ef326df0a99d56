#!/bin/sh
# A batch runner that knows nothing but docs/batches.md: it makes a job of a manifest,
# or takes one that waits, and works off one item after the other.
#   S3=http://127.0.0.1:9000/batches/fun-asr AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... \
#     runner.sh JOB MANIFEST BASE SERVER REVISION
set -eu
job=$1 manifest=$2 base=$3 server=$4 revision=$5
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
session=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n') now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
die() { echo "$*" >&2; exit 1; }
s3() { # METHOD KEY [curl options]: sets status and tag; the answer is in $tmp/body
	method=$1 key=$2
	shift 2
	status=$(curl -sS --aws-sigv4 aws:amz:us-east-1:s3 -u "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
		-X "$method" -D "$tmp/headers" -o "$tmp/body" -w '%{http_code}' "$@" "$S3/$job/$key")
	tag=$(sed -n 's/^[Ee][Tt][Aa][Gg]: *\([^\r]*\).*$/\1/p' "$tmp/headers")
}
first() { # KEY FILE: writes an object unless there is one
	s3 PUT "$1" -T "$2" -H 'If-None-Match: *'
	case $status in 200 | 412) ;; *) die "$1: HTTP $status: $(cat "$tmp/body")" ;; esac
}
swap() { # FILTER: changes the head with jq, if it is still the one that was read
	jq -c --arg now "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1 | .at = \$now" "$tmp/head" >"$tmp/next"
	s3 PUT head.json -T "$tmp/next" -H "If-Match: $head"
	[ "$status" = 200 ] || die "somebody else has job $job: HTTP $status"
	head=$tag
	mv "$tmp/next" "$tmp/head"
}
sum=$(sha256sum <"$manifest" | cut -d' ' -f1)
first "manifest-$(echo "$sum" | cut -c1-12).jsonl" "$manifest"
jq -cs --arg job "$job" --arg base "$base" --arg sum "$sum" --arg now "$now" --argjson bytes "$(wc -c <"$manifest")" '{version: 1, id: $job, service: "fun-asr",
	created_at: $now, created_by: "runner.sh", base: $base, params: {chunk_seconds: 540}, concurrency: 4, attempts: 3, on_model_change: "finish-old",
	manifest: {key: "manifest-\($sum[:12]).jsonl", sha256: $sum, bytes: $bytes, items: length, seconds: (map(.duration) | add)}}' "$manifest" >"$tmp/job"
first job.json "$tmp/job"
jq -nc --arg job "$job" '{version: 1, job: $job, state: "waiting", window: {item: 0, byte: 0, end: 0}, round: 1, epoch: 0, redone_seconds: 0}' >"$tmp/new"
first head.json "$tmp/new"
s3 GET head.json
head=$tag
jq -c --arg id "$(printf '%s\n' "$sum" "$revision" | sha256sum | cut -c1-12)" --arg revision "$revision" \
	'if .variants then . else .variants = [{id: $id, revision: $revision}] end' "$tmp/body" >"$tmp/head"
variant=$(jq -r '.variants[-1].id' "$tmp/head") item=$(jq .window.item "$tmp/head") items=$(grep -c . "$manifest")
[ "$(jq -r .state "$tmp/head")" = waiting ] || die "job $job is $(jq -r '.state + ", held by " + .holder' "$tmp/head")"
[ "$(jq -r '.variants[-1].revision' "$tmp/head")" = "$revision" ] || die "job $job began with another model"
swap ".state = \"running\" | .session = \"$session\" | .holder = \"runner.sh\" | .lanes = 1"
while [ "$item" -lt "$items" ]; do
	swap ".window.end = ([.window.end, $item + 1] | max)"
	sed -n "$((item + 1))p" "$manifest" >"$tmp/line"
	curl -sSf -F response_format=verbose_json -F "file=@\"$base/$(jq -r .audio_filepath "$tmp/line")\"" "$server/v1/audio/transcriptions" >"$tmp/said"
	number=$(printf '%09d' "$item")
	jq -c --slurpfile said "$tmp/said" --arg number "$number" --arg variant "$variant" --argjson item "$item" --slurpfile head "$tmp/head" '$head[0] as $h |
		{id: "\($variant)/\($number)", custom_id: $number, response: {status_code: 200, request_id: "", body: $said[0]}, error: null, job: $h.job, item: $item,
		audio_filepath, audio_seconds: .duration, model_revision: $h.variants[-1].revision, epoch: $h.epoch, session: $h.session, holder: $h.holder, at: $h.at}' "$tmp/line" >"$tmp/result"
	first "results/$variant/$(printf '%06d' $((item / 1000)))/$number.json" "$tmp/result"
	swap ".window = {item: ($item + 1), byte: 0, end: ([.window.end, $item + 1] | max)} | .succeeded += 1 | .audio_seconds += $(jq .duration "$tmp/line")"
	item=$((item + 1))
	echo "$item of $items"
done
swap '.state = "waiting" | .reason = "all items have an outcome"'
