#!/bin/sh
# The first program of a slim image: it reads the boot document from the
# NoCloud seed, or from EC2's metadata service, does what the document says,
# runs the one service, and switches the machine off where that cannot be. Of
# the document it understands what Understudy writes: files, commands that are
# no systemctl, and the units by which a service needs its volumes. Each step is
# a line on the console.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
units=/etc/systemd/system
uptime() { cut -d' ' -f1 /proc/uptime; }
say() { echo "understudy: step $*"; }

# off ends the machine. What it has written is on its disk by then.
off() {
	sync
	busybox mount -o remount,ro / 2>/dev/null
	busybox poweroff -f
	sleep 60
}
fail() {
	say "$@"
	off
}

busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
[ -c /dev/null ] || busybox mount -t devtmpfs devtmpfs /dev
busybox mount -t tmpfs -o mode=755 tmpfs /run
busybox mount -t tmpfs -o mode=1777 tmpfs /tmp
exec >/dev/console 2>&1 </dev/null
say kernel "done" after "$(uptime)" s
ln -sf /proc/self/fd /dev/fd
for n in 0:stdin 1:stdout 2:stderr; do ln -sf "/proc/self/fd/${n%:*}" "/dev/${n#*:}"; done
for module in virtio_net isofs fuse virtio_rng button evdev; do busybox modprobe "$module" 2>/dev/null; done

say network begin
busybox ip link set lo up
for card in /sys/class/net/eth*; do
	[ -e "$card" ] || fail network failed there is no network card
	busybox ip link set "${card##*/}" up
	busybox udhcpc -q -n -f -t 10 -T 1 -i "${card##*/}" -s /usr/local/lib/understudy/dhcp >/dev/null 2>&1 || fail network failed nobody gives an address to "${card##*/}"
done
say network "done" after "$(uptime)" s

# The seed is the disk with user-data on it. An instance of EC2 has none, and asks its metadata service.
mkdir -p /run/seed
for disk in /dev/vd[b-z] /dev/sr0; do
	[ -b "$disk" ] && busybox mount -t iso9660 -o ro "$disk" /run/seed 2>/dev/null && break
done
if [ ! -e /run/seed/user-data ] && [ "$(cat /sys/class/dmi/id/sys_vendor 2>/dev/null)" = 'Amazon EC2' ]; then
	metadata=http://169.254.169.254/latest
	token=$(curl -sf -m 10 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $metadata/api/token) || fail document failed the metadata service gives no token
	curl -sf -m 10 -H "X-aws-ec2-metadata-token: $token" $metadata/user-data >/run/seed/user-data || fail document failed the metadata service gives no user-data
	# What is too long for EC2 comes packed.
	if busybox gunzip -c </run/seed/user-data >/run/seed/unpacked 2>/dev/null; then mv /run/seed/unpacked /run/seed/user-data; fi
fi
[ -e /run/seed/user-data ] || fail document failed there is no seed with user-data
IFS= read -r first </run/seed/user-data
[ "$first" = '#cloud-config' ] || fail document failed the user-data is no cloud-config

path='' part='' commands=''
while IFS= read -r line || [ -n "$line" ]; do
	case $line in
	'  - path: '*)
		path=${line#"  - path: '"}
		path=${path%"'"} part=''
		case $path in
		/*[!A-Za-z0-9/._@:-]* | *..*) fail document failed "$path" is no path ;;
		/*) mkdir -p "${path%/*}" ;;
		*) fail document failed "$path" is no path ;;
		esac
		;;
	'    permissions: "'*)
		mode=${line#*'"'}
		: >"$path"
		chmod "${mode%'"'}" "$path"
		;;
	'    content: |') part=content ;;
	'runcmd:') part=commands ;;
	'      '*) [ "$part" != content ] || printf '%s\n' "${line#"      "}" >&3 ;;
	'') [ "$part" != content ] || echo >&3 ;;
	"  - ['systemctl'"*) ;;
	"  - ["*) [ "$part" != commands ] || commands="$commands$line
" ;;
	esac
	# One file at a time is open.
	if [ "$part" = content ] && [ "$line" = '    content: |' ]; then exec 3>"$path"; fi
done </run/seed/user-data
exec 3>&-
busybox umount /run/seed 2>/dev/null
say document "done" after "$(uptime)" s

# The lists that the document has become are in these places.
boot=/usr/local/lib/understudy/boot
bring() { UNDERSTUDY_CONSOLE=/dev/null "$boot" "$@"; } # what it says goes to the console as it is
unit=$units/understudy-service.service
for extra in "$units"/*.service.d/50-understudy.conf; do
	[ -e "$extra" ] || continue
	name=${extra#"$units"/}
	name=${name%.d/*}
	for unit in "$units/$name" "/lib/systemd/system/$name" /nowhere; do [ -e "$unit" ] && break; done
	[ -e "$unit" ] || fail start failed the image has no unit "$name"
done
if [ -e "$units/understudy-boot.service" ]; then
	bring up || off
fi
printf '%s' "$commands" | while IFS= read -r line; do
	line=${line#"  - ["}
	eval "set -- $(printf '%s' "${line%]}" | sed "s/', '/' '/g")"
	"$@"
done
[ -e "$unit" ] || fail start failed the document names no service

# value prints the last value of a key of the unit. What systemd writes double, the shell writes once.
value() { sed -n "s/^$1=//p" "$unit" | tail -n 1; }
user=$(value User) dir=$(value WorkingDirectory)
program=$(value ExecStart | sed -e 's/`/\\`/g' -e 's/\$\$/\\$/g' -e 's/%%/%/g')
serve() {
	set -a
	[ ! -e /etc/understudy/service.env ] || . /etc/understudy/service.env
	set +a
	cd "${dir:-/}" || exit 1
	eval "set -- $program"
	[ -z "$user" ] || exec setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups "$@"
	exec "$@"
}

# The power button, which is how a hypervisor asks.
for input in /dev/input/event*; do
	[ -e "$input" ] || continue
	(head -c 24 "$input" >/dev/null 2>&1 && kill -TERM 1) & # one event has 24 bytes
done
trap 'say stop begin; kill -TERM "$child" 2>/dev/null; n=0; while kill -0 "$child" 2>/dev/null && [ $n -lt 50 ]; do n=$((n + 1)); sleep 0.1; done; [ ! -e "$boot" ] || bring down; say stop "done"; off' TERM

tries=0
while :; do
	began=$(cut -d. -f1 /proc/uptime)
	serve &
	child=$!
	say start "done" after "$(uptime)" s
	[ ! -e "$units/understudy-hash.service" ] || [ $tries -gt 0 ] || bring hash &
	wait "$child"
	status=$?
	[ $(($(cut -d. -f1 /proc/uptime) - began)) -gt 20 ] && tries=0
	tries=$((tries + 1))
	[ $tries -lt 3 ] || fail start failed the service has ended $tries times, with status "$status" at last
	echo "understudy: the service has ended with status $status; it is started again"
	sleep 2
done
