#!/bin/sh
# What the mended primary's host runs, as systemd would there: at-home.sh start
# or stop, each as often as anybody likes. Primary and hot standby keep their
# transcriptions in one history. `understudy host` says where Litestream
# replicates it to: below the prefix of its epoch, $UNDERSTUDY_REPLICA_0.
set -eu
cd "$(dirname "$0")"
UNDERSTUDY_MACHINE=$PWD/at-home # so that the end of the demo finds what it started
AWS_ACCESS_KEY_ID=$(cat store/access-key)
AWS_SECRET_ACCESS_KEY=$(cat store/secret-key)
export UNDERSTUDY_MACHINE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY TMPDIR="$PWD"
[ -n "${UNDERSTUDY_REPLICA_0:-}" ] || . host/"$SERVICE".env

running() { # name
	[ -f "at-home.$1" ] || return 1
	case "$(ps -o stat= -p "$(cat "at-home.$1")")" in '' | Z*) return 1 ;; esac
}

run() { # name program arguments
	name=$1
	shift
	running "$name" && return
	setsid "$@" >>"at-home-$name.log" 2>&1 </dev/null &
	echo $! >"at-home.$name"
}

end() { # name
	while running "$1"; do
		kill "$(cat "at-home.$1")" 2>/dev/null || true
		sleep 0.05
	done
	rm -f "at-home.$1"
}

case $1 in
start)
	run primary ./speech-site asr --model "$MODEL" --listen "$PRIMARY" --history "$HISTORY"
	run hot ./speech-site asr --model "$MODEL" --listen "$HOT" --history "$HISTORY"
	run litestream litestream replicate "$HISTORY" "$UNDERSTUDY_REPLICA_0?endpoint=$S3_ENDPOINT&region=us-east-1&forcePathStyle=true"
	;;
stop)
	end primary
	end hot
	end litestream
	;;
esac
