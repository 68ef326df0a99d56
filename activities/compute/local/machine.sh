# One call to the machines of one host. What stands above these lines has set
#   VERB      check, create, describe, stop, start, terminate or list
#   ROOT      directory of the machines; empty for the usual one
#   KEY       of the machine
#   RECORD    what is written down about it, one line of JSON
#   DIGEST    of the order
#   ENVIRON   its environment, as shell text; COMMAND, its arguments, the same
#   PROGRAM   its first argument; DIR the directory to start it in
#   PORTS DISK GPU   what must be free: TCP ports, MiB, MiB
#   GRACE     seconds between SIGTERM and SIGKILL
#   RUN       text of the supervisor
#   SYSTEMD   a directory that is there where systemd runs
#
# The answer stands on the standard output, from the line "understudy-machines"
# to the line "end"; without that line it is no answer.
#
# A machine is a directory m-KEY, which appears at once with all that is in it
# and never for two orders. The files in it only ever become more:
#   digest record env command run   the order
#   started-N/                      start N has begun: pid and exit are written there
#   stopped-N                       start N is to end, and the machine to be kept
#   gone                            the machine is to end for good
# Since a supervisor looks for stopped-N and gone after it can be found by its
# environment, and a removal writes them before it looks for supervisors, no
# process escapes a removal, whatever the order of events.

set -u
umask 077
unset CDPATH
LC_ALL=C
export LC_ALL

# fail ends the call with a class of error and a reason.
fail() {
	printf 'error %s %s\nend\n' "$1" "$(printf '%s' "$2" | tr -s '[:space:]' ' ')"
	exit 0
}

# enter finds the directory of the machines, and makes it where it is told to.
enter() {
	if [ "$1" = make ] && ! mkdir -p -- "$ROOT" 2>/dev/null; then
		fail refused "the directory $ROOT, where machines are kept, cannot be made; make it, or let this user write there"
	fi
	if [ ! -d "$ROOT" ]; then return 1; fi
	ROOT=$(cd -- "$ROOT" && pwd -P) || fail refused "the directory $ROOT, where machines are kept, cannot be entered"
	m=$ROOT/m-$KEY
}

# starts sets n to how often a machine has been started.
starts() {
	n=0
	while [ -d "$1/started-$((n + 1))" ]; do n=$((n + 1)); done
}

# leader sets leader to the supervisor of a start, if that lives.
leader() {
	leader='' pid='' start='' boot='' stat=''
	if [ -s "$1/started-$2/pid" ]; then read -r pid start boot <"$1/started-$2/pid"; fi
	read -r now </proc/sys/kernel/random/boot_id
	if [ -z "$boot" ] || [ "$boot" != "$now" ]; then return 1; fi
	{ read -r stat <"/proc/$pid/stat"; } 2>/dev/null
	# shellcheck disable=SC2086 # What stands behind the name of the program are words; the 20th is the moment of the start.
	set -- ${stat##*) }
	if [ "${1:-Z}" = Z ] || [ "${20:-}" != "$start" ]; then return 1; fi
	leader=$pid
}

# members sets members to all processes that carry the mark of a machine. It fails where that cannot be known: a process
# that hangs in the kernel can hold up whoever looks at it.
members() {
	members=
	found=$(timeout -k 1 5 grep -lszxF -e "UNDERSTUDY_MACHINE=$1" /proc/[0-9]*/environ)
	if [ $? -ge 124 ]; then return 1; fi
	for path in $found; do
		pid=${path#/proc/}
		members="$members ${pid%/environ}"
	done
}

alive() {
	leader "$1" "$2" && return 0
	members "$1" || fail unknown "the processes of the host cannot be looked at within 5 s; one of them hangs in the kernel"
	[ -n "$members" ]
}

# look sets state to that of a machine. How often it was started is read first: a start that was seen has a process, or had one.
look() {
	starts "$1"
	if alive "$1" "$n"; then
		state=running
		if [ "$n" = 0 ]; then state=pending; fi
		if [ -e "$1/gone" ] || [ -e "$1/stopped-$n" ]; then state=stopping; fi
	elif [ -e "$1/gone" ]; then
		state=removed
	elif [ -e "$1/stopped-$n" ]; then
		state=stopped
	elif [ "$n" = 0 ]; then
		state=pending
	else
		state=ended
	fi
}

# ours reads a record, and succeeds where it carries our tags.
ours() {
	read -r record <"$1/record"
	case $record in *'"managed-by":"understudy"'*) ;; *) return 1 ;; esac
}

show() {
	look "$1"
	printf 'machine %s\n' "$state"
	if [ -s "$1/started-$n/exit" ]; then printf 'exit %s\n' "$(cat "$1/started-$n/exit")"; fi
	printf 'log %s\n' "$(tail -q -c 2000 "$1/log.old" "$1/log" 2>/dev/null | base64 | tr -d '\n')"
	read -r record <"$1/record"
	printf 'record %s\n' "$record"
}

# known ends the call unless the machine is there and may be touched.
known() {
	enter look || fail none "nothing was ever made on this host"
	if [ ! -s "$m/record" ]; then fail none "there is no machine with the key $KEY"; fi
	ours "$m" || fail foreign "the machine with the key $KEY does not carry our tags"
}

# possible ends the call with the reason why the order cannot be carried out now.
possible() {
	for tool in awk base64 cat cksum cut date df dirname env find grep mktemp mv sed setsid sleep stat tail timeout tr; do
		command -v "$tool" >/dev/null || fail refused "the program $tool is missing on the host; install it"
	done
	printf 'a\0b\0' | grep -qzxF b || fail refused "the host's grep knows no option -z; install GNU grep"
	case $DIR in
	'') DIR=${HOME:-/} ;;
	/*) ;;
	*) DIR=./$DIR ;;
	esac
	DIR=$(cd -- "$DIR" 2>/dev/null && pwd -P) || fail refused "the directory $DIR cannot be entered; is it there?"
	if [ -n "$PROGRAM" ]; then program; fi
	for port in $PORTS; do
		if listening "$port"; then fail capacity "port $port is in use; ss -ltnp 'sport = :$port' shows by whom"; fi
	done
	if [ "$DISK" -gt 0 ]; then
		free=$(timeout 5 df -Pk -- "$DIR" | awk 'NR == 2 { for (i = 2; i <= NF; i++) if ($i ~ /%$/) print int($(i - 1) / 1024) }')
		[ "${free:-0}" -ge "$DISK" ] || fail capacity "${free:-an unknown number of} MiB are free on the disk of $DIR, and $DISK are needed"
	fi
	if [ "$GPU" -gt 0 ] && command -v nvidia-smi >/dev/null; then
		free=$(timeout 10 nvidia-smi --query-gpu=memory.free --format=csv,noheader,nounits 2>/dev/null | sort -n | tail -n 1 | tr -cd 0-9)
		[ -n "$free" ] || fail capacity "nvidia-smi does not tell how much memory of the GPU is free; run it on the host"
		[ "$free" -ge "$GPU" ] || fail capacity "$free MiB are free on the GPU, and $GPU are needed; nvidia-smi shows what holds the rest"
	fi
}

# writable ends the call where the directory of the machines cannot be made or written.
writable() {
	above=$ROOT
	while [ ! -d "$above" ]; do above=$(dirname -- "$above"); done
	[ -w "$above" ] || fail refused "the directory $ROOT, where machines are kept, cannot be written by this user"
}

program() {
	found=$(
		eval "$ENVIRON"
		cd -- "$DIR" || exit
		set -f
		IFS=:
		case $PROGRAM in
		*/*) set -- "$PROGRAM" ;;
		*) set -- && for place in $PATH; do set -- "$@" "${place:-.}/$PROGRAM"; done ;;
		esac
		for path in "$@"; do
			if [ -f "$path" ] && [ -x "$path" ]; then echo yes; fi
		done
	)
	[ -n "$found" ] || fail refused "the program $PROGRAM is not there, or may not be executed; its directory is $DIR"
}

listening() {
	cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$(printf ':%04X' "$1")" '
		$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 }
		END { exit !found }'
}

# launch starts a supervisor for start N. Where two callers do so, or a first way fails late, one supervisor goes on.
launch() {
	if [ -d "$SYSTEMD" ] && [ "$(id -u)" = 0 ] && command -v systemd-run >/dev/null; then
		# A unit of its own: else the end of the service that we run in would end the machine too.
		unit=understudy-$KEY-$2-$(printf '%s' "$1" | cksum | cut -d' ' -f1)
		systemd-run --quiet --collect --unit="$unit" --setenv=UNDERSTUDY_MACHINE="$1" /bin/sh "$1/run" "$2" </dev/null >/dev/null 2>&1 && launched "$1" "$2"
	fi
	if [ ! -d "$1/started-$2" ]; then
		env -i PATH="$PATH" UNDERSTUDY_MACHINE="$1" setsid /bin/sh "$1/run" "$2" </dev/null >/dev/null 2>&1 &
		launched "$1" "$2"
	fi
}

# launched waits, not for ever, until the supervisor has written down who it is.
launched() {
	tries=0
	until [ -s "$1/started-$2/pid" ] || [ -e "$1/gone" ] || [ "$tries" -ge 200 ]; do
		sleep 0.02
		tries=$((tries + 1))
	done
}

# mark writes a file with the time of day, once. A directory that was made for a key alone can be replaced under our hands,
# by one that has the order too: then we write into that.
mark() {
	for try in 1 2 3; do
		if [ -s "$1" ]; then return; fi
		if new=$(mktemp "$1.XXXXXX" 2>/dev/null) && date +%s >"$new" && mv -f "$new" "$1"; then return; fi
	done 2>/dev/null
	fail unknown "$1 cannot be written after $try tries; is the disk full?"
}

# finish ends all processes of a machine, after the file $2 was written: with SIGTERM, and later with SIGKILL. It is over
# when two looks see nothing: a process that becomes another program has no environment for a moment.
finish() {
	since=$(cat "$2")
	begun=$(date +%s)
	asked=''
	unseen=0
	while [ "$unseen" -lt 2 ]; do
		if alive "$1" "$n"; then
			unseen=0
			now=$(date +%s)
			waited=$((now - since))
			# A repeated call goes on where the first one stopped, unless the clock was set back.
			if [ "$waited" -lt $((now - begun)) ]; then waited=$((now - begun)); fi
			if [ "$waited" -ge "$GRACE" ]; then
				force "$1"
			elif [ -z "$asked" ]; then
				asked=yes
				ask "$1"
			fi
		else
			unseen=$((unseen + 1))
		fi
		sleep 0.05
	done
}

# ask sends SIGTERM to the supervisor's process group, and to those members that left it.
ask() {
	members "$1"
	if [ -n "$leader" ]; then kill -TERM "-$leader" 2>/dev/null; fi
	for pid in $members; do
		group=$(awk '{ sub(/^.*\) /, ""); print $3 }' "/proc/$pid/stat" 2>/dev/null)
		if [ -z "$leader" ] || [ "$group" != "$leader" ]; then kill -TERM "$pid" 2>/dev/null; fi
	done
}

# force sends SIGKILL to all but the supervisor, which then ends by itself, and writes down how its program did; where it
# does not, to all.
force() {
	members "$1"
	if [ $((now - begun)) -ge $((GRACE + 10)) ]; then fail unknown "processes$members do not end; they hang in the kernel"; fi
	if [ -n "$leader" ] && [ "$waited" -ge $((GRACE + 3)) ]; then kill -KILL "-$leader" 2>/dev/null; fi
	for pid in $members $(cat /proc/[0-9]*/stat 2>/dev/null | awk -v leader="${leader:-none}" '{ pid = $1; sub(/^.*\) /, ""); if ($3 == leader) print pid }'); do
		if [ "$pid" != "$leader" ]; then kill -KILL "$pid" 2>/dev/null; fi
	done
}

# publish makes the directory of a machine appear with all that belongs to it, or not at all.
publish() {
	new=$(mktemp -d "$ROOT/.new-XXXXXX") &&
		printf '%s\n' "$DIGEST" >"$new/digest" &&
		printf '%s\n' "$RECORD" >"$new/record" &&
		printf 'export PATH=%s HOME=%s LANG=C.UTF-8\n%s\n' "$(quoted "$PATH")" "$(quoted "${HOME:-/}")" "$ENVIRON" >"$new/env" &&
		printf '%s\n' "directory=$1" "$COMMAND" >"$new/command" &&
		printf '%s\n' "$RUN" >"$new/run" || {
		rm -rf "$new"
		fail refused "$ROOT cannot be written; is the disk full?"
	}
	mv -T "$new" "$m" 2>/dev/null || rm -rf "$new"
}

# quoted prints a text as one word of the shell.
quoted() {
	printf "'"
	printf '%s' "$1" | sed "s/'/'\\\\''/g"
	printf "'"
}

# prune forgets keys of machines that were removed 30 days ago, and what broken calls left behind.
prune() {
	find "$ROOT" -maxdepth 1 -type d -name '.new-*' -mmin +60 -exec rm -rf {} +
	find "$ROOT" -maxdepth 1 -type d -name 'm-*' -mtime +30 | while read -r old; do
		if [ -e "$old/gone" ]; then rm -rf "$old"; fi
	done
}

create() {
	enter make
	if [ ! -d "$m" ]; then
		possible
		prune
		publish "$(quoted "$DIR")"
	fi
	if [ ! -d "$m" ]; then fail refused "$m cannot be made; is the disk full?"; fi
	if [ -e "$m/gone" ]; then fail used "the machine with the key $KEY was removed"; fi
	known=''
	if [ -e "$m/digest" ]; then read -r known <"$m/digest"; fi
	if [ "$known" != "$DIGEST" ]; then fail used "the key $KEY was used for another order"; fi
	starts "$m"
	if [ "$n" = 0 ]; then
		echo launched
		launch "$m" 1
	fi
	show "$m"
}

stop() {
	known
	starts "$m"
	if [ "$n" = 0 ]; then
		mark "$m/stopped-1"
		mkdir "$m/started-1" 2>/dev/null # then no supervisor goes on
	fi
	look "$m"
	case $state in
	stopped) return ;;
	removed | ended) fail none "the machine with the key $KEY is gone" ;;
	esac
	if [ -e "$m/gone" ]; then fail none "the machine with the key $KEY is being removed"; fi
	mark "$m/stopped-$n"
	finish "$m" "$m/stopped-$n"
}

start() {
	known
	look "$m"
	case $state in
	removed | ended) fail none "the machine with the key $KEY is gone" ;;
	stopping) fail unknown "the machine with the key $KEY is on its way to its end" ;;
	stopped | pending)
		possible
		launch "$m" $((n + 1))
		;;
	esac
	show "$m"
}

terminate() {
	enter make
	mkdir "$m" 2>/dev/null # where there was nothing, a call that arrives late finds its key used
	if [ -s "$m/record" ]; then ours "$m" || fail foreign "the machine with the key $KEY does not carry our tags"; fi
	mark "$m/gone"
	starts "$m"
	finish "$m" "$m/gone"
	if [ -e "$m/log" ]; then
		tail -q -c 16384 "$m/log.old" "$m/log" 2>/dev/null | tail -c 16384 >"$m/log.new" && mv -f "$m/log.new" "$m/log"
	fi
	rm -f "$m/env" "$m/command" "$m/run" "$m/log.old"
}

list() {
	enter look || return 0
	for each in "$ROOT"/m-*; do
		if [ ! -s "$each/record" ] || ! ours "$each"; then continue; fi
		if [ -e "$each/gone" ]; then
			look "$each"
			if [ "$state" = removed ]; then continue; fi
		fi
		show "$each"
	done
}

main() {
	echo understudy-machines
	if [ -z "$ROOT" ]; then
		if [ "$(id -u)" = 0 ]; then ROOT=/var/lib/understudy/machines; else ROOT=${HOME:-}/.local/state/understudy/machines; fi
	fi
	case $VERB in
	check)
		possible
		writable
		;;
	create) create ;;
	describe)
		enter look || fail none "nothing was ever made on this host"
		if [ ! -s "$m/record" ]; then fail none "there is no machine with the key $KEY"; fi
		show "$m"
		;;
	stop) stop ;;
	start) start ;;
	terminate) terminate ;;
	list) list ;;
	esac
	echo end
}

main </dev/null
