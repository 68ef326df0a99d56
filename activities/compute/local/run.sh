# The supervisor of one machine: it runs the program of the machine, outlives
# whoever started it, and writes down how the program ended.
#
#   UNDERSTUDY_MACHINE=DIRECTORY sh DIRECTORY/run N
#
# N counts the starts. Of several supervisors for one start, the one that makes
# the directory started-N goes on. All that it starts carries the variable
# UNDERSTUDY_MACHINE, and is known by it.
limit=67108864 # Bytes of a log that is not begun anew yet.

# As "run trim PARENT" this file keeps the log from filling the disk, for as long as the supervisor is its parent. It has
# a session of its own and no mark: so it counts for nobody, and SIGKILL, the one signal that no shell loses, ends it whole.
if [ "$1" = trim ]; then
	while sleep 5; do
		read -r _ _ _ parent _ <"/proc/$$/stat"
		if [ "$parent" != "$2" ]; then exit 0; fi
		if [ "$(stat -c %s log)" -gt "$limit" ]; then
			tail -c 1048576 log >log.old
			: >log
		fi
	done
fi

n=$1
m=$UNDERSTUDY_MACHINE
cd "$m" || exit 1
mkdir "started-$n" 2>/dev/null || exit 0
exec </dev/null >>log 2>&1

# others succeeds while processes of this session live that are neither this
# shell nor its children.
others() {
	cat /proc/[0-9]*/stat 2>/dev/null | awk -v self="$$" '
		{ pid = $1; sub(/^.*\) /, ""); if ($4 == self && pid != self && $2 != self && $1 != "Z") found = 1 }
		END { exit !found }'
}

# wrote replaces a file in one step: a reader finds all of it or none.
wrote() {
	printf '%s\n' "$2" >"$1.new" && mv -f "$1.new" "$1"
}

# A number of a process is given out again one day; together with the moment of its start and the boot it is not.
wrote "started-$n/pid" "$$ $(awk '{ sub(/^.*\) /, ""); print $20 }' "/proc/$$/stat") $(cat /proc/sys/kernel/random/boot_id)"
if [ -e gone ] || [ -e "stopped-$n" ]; then exit 0; fi

trap : TERM INT HUP
env -i PATH="$PATH" setsid /bin/sh "$m/run" trim "$$" &
trimmer=$!
. ./env
. ./command
(
	# A shell can lose a signal that comes between its fork and the end of its traps: the reason is still to be seen.
	if [ -e gone ] || [ -e "stopped-$n" ]; then exit 143; fi
	umask 022 && cd "$directory" && exec "$@"
) &
child=$!
# A removal that came meanwhile has sent its signal before there was a child.
if [ -e gone ] || [ -e "stopped-$n" ]; then kill -TERM "$child"; fi
while :; do
	wait "$child"
	code=$?
	# More than 128 can also mean that a signal has ended the waiting alone.
	if [ "$code" -le 128 ] || ! kill -0 "$child" 2>/dev/null; then break; fi
done
wrote "started-$n/exit" "$code"
exec >/dev/null 2>&1 # the log ends with the program's words
parent=''
read -r _ _ _ parent _ <"/proc/$trimmer/stat"
if [ "$parent" = "$$" ]; then kill -KILL "$trimmer" "-$trimmer"; fi # else its number may be somebody else's by now
# A program may go on in the background after its first process has ended. This one stays, so that they can be found.
while others; do sleep 1; done
