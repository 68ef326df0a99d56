#!/bin/sh
# Starts a cold standby that replicates what it writes. By now Understudy has mounted the model at
# $MODEL and restored the history to $HISTORY. $UNDERSTUDY_REPLICA_0 is where the
# history goes from this epoch on: a prefix of its own, which the Litestream of
# the machine that failed cannot damage, should it come back.
set -eu
(
	AWS_ACCESS_KEY_ID=$(cat store/access-key)
	AWS_SECRET_ACCESS_KEY=$(cat store/secret-key)
	export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
	exec litestream replicate "$HISTORY" "$UNDERSTUDY_REPLICA_0?endpoint=$S3_ENDPOINT&region=us-east-1&forcePathStyle=true"
) &
exec ./speech-site asr --model "$MODEL" --listen "$LISTEN" --history "$HISTORY"
