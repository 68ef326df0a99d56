#!/bin/sh
# The bare script of a cold standby: what a careful person writes down for the
# day. It mounts the model, compares it with its manifest, starts the server,
# waits until it is ready, sends it one recording, and turns the traffic. It
# keeps nothing, takes nothing back, and asks nobody.
set -eu
mkdir -p "$MOUNT"
s3fs "$BUCKET:/$PREFIX" "$MOUNT" -o "ro,passwd_file=$PASSWORD,url=$STORE,use_path_request_style"
(cd "$MOUNT" && sha256sum --quiet --check MANIFEST.sha256)
"$PROGRAM" asr --model "$MOUNT" --listen "$ADDRESS" >"$LOG" 2>&1 &
echo $! >"$PID"
until curl --silent --fail --max-time 1 "http://$ADDRESS/health" | grep -q "$READY"; do sleep 0.25; done
hear() { curl --silent --fail --max-time 10 --form "file=@$RECORDING" "$1/v1/audio/transcriptions" | grep -q "$EXPECT"; }
hear "http://$ADDRESS"
for command in "addr ${ADDRESS%:*} port ${ADDRESS#*:}" "state ready"; do
	echo "set server $BACKEND/cold $command" | socat - "UNIX-CONNECT:$SOCKET"
done
until hear "$FRONT"; do sleep 0.1; done
