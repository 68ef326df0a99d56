#!/bin/sh
# Written by Understudy. Brings the model volumes of this machine and proves
# them, and restores its data; its service starts only when that is done.
#
#   boot up      bring and prove all volumes, restore all data
#   boot hash    hash those that were proven by their sizes alone
#   boot down    unmount
#   boot say X   report a step
set -eu
export LC_ALL=C
etc=${UNDERSTUDY_ETC:-/etc/understudy}
run=${UNDERSTUDY_RUN:-/run/understudy}
cache=${UNDERSTUDY_CACHE:-/var/cache/understudy}
state=${UNDERSTUDY_STATE:-/var/lib/understudy}
console=${UNDERSTUDY_CONSOLE:-/dev/console}
limit=60 # seconds in which a store must take a mount
patient="--cli-connect-timeout 5 --cli-read-timeout 20" # of the AWS tools, which else wait for minutes
export AWS_MAX_ATTEMPTS=3 AWS_EC2_METADATA_SERVICE_NUM_ATTEMPTS=3
umask 022
tab=$(printf '\t')
mkdir -p "$run" "$cache" "$state"

say() {
	echo "understudy: step $*"
	echo "understudy: step $*" 2>/dev/null >"$console" || true
}

fail() {
	say "$@"
	exit 1
}

has() { command -v "$1" >/dev/null; }

# role prints the name of this machine's role. s3fs 1.90 asks for it without the
# token that EC2's metadata service can require, and finds none.
role() {
	metadata=http://169.254.169.254/latest
	if [ ! -s "$run/role" ] && has curl; then
		token=$(curl -sf -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $metadata/api/token) &&
			curl -sf -m 5 -H "X-aws-ec2-metadata-token: $token" $metadata/meta-data/iam/security-credentials/ >"$run/role" || true
	fi
	name=$(head -n 1 "$run/role" 2>/dev/null || true)
	case $name in
	'' | *[!A-Za-z0-9+=.@_-]*) echo auto ;; # s3fs takes a comma for the end of an option
	*) echo "$name" ;;
	esac
}

# login prepares the credentials of the volume at hand: role, none, or a file.
login() {
	unset AWS_SHARED_CREDENTIALS_FILE
	case $auth in
	role) s3fs_login=iam_role=$(role) unsigned= ;;
	anonymous) s3fs_login=public_bucket=1 unsigned=--no-sign-request ;;
	*)
		[ -r "$auth" ] || fail "$step" failed "$at": the image has no credentials file "$auth"
		export AWS_SHARED_CREDENTIALS_FILE="$auth"
		(umask 077 && awk -F' *= *' '$1=="aws_access_key_id"{k=$2} $1=="aws_secret_access_key"{s=$2} END{print k":"s}' "$auth" >"$run/passwd-$n")
		s3fs_login=passwd_file=$run/passwd-$n unsigned=
		;;
	esac
}

# attach mounts the volume's source at $1, read-only, and looks whether it
# answers. A source that is copied has no cache: s3fs takes a cached file for the
# store's where the size and the second of the change are the same, and a copy
# would lie on the disk twice.
attach() {
	if ! mountpoint -q "$1"; then
		detach "$1" # a mount whose program has ended is no mount point, and is still there
		mkdir -p "$1" "$cache/$n"
		connect "$1" || return 1
	fi
	# s3fs says that it has mounted before it has asked its store, and may have given up by now.
	timeout "$limit" ls "$1" >/dev/null 2>&1 && mountpoint -q "$1"
}

# because says what can be known of why a store was of no use. Stores refuse
# what was signed by a clock that is 15 minutes off.
because() {
	has curl || return 0
	url=$endpoint
	[ "$endpoint" != - ] || url=https://s3.$region.amazonaws.com
	if ! theirs=$(curl -skI --connect-timeout 5 --max-time 10 "$url"); then
		echo "; this machine does not reach $url"
		return
	fi
	theirs=$(echo "$theirs" | tr -d '\r' | sed -n 's/^[Dd]ate: //p' | head -n 1)
	[ -n "$theirs" ] && theirs=$(date -d "$theirs" +%s) || return 0
	off=$(($(date +%s) - theirs))
	if [ "$off" -ge 600 ]; then
		echo "; the clock of this machine is $off s ahead of the store's, which refuses such signatures"
	elif [ "$off" -le -600 ]; then
		echo "; the clock of this machine is ${off#-} s behind the store's, which refuses such signatures"
	fi
}

connect() {
	if has mount-s3; then
		set -- "$1" --read-only --allow-other --metadata-ttl indefinite --region "$region"
		[ "$prefix" = - ] || set -- "$@" --prefix "$prefix/"
		[ "$1" != "$at" ] || set -- "$@" --cache "$cache/$n"
		[ "$endpoint" = - ] || set -- "$@" --endpoint-url "$endpoint"
		[ "$style" != path ] || set -- "$@" --force-path-style
		target=$1
		shift
		timeout "$limit" mount-s3 "$@" ${unsigned:+"$unsigned"} "$bucket" "$target"
	elif has s3fs; then
		url=$endpoint below=/$prefix
		[ "$endpoint" != - ] || url=https://s3.$region.amazonaws.com
		[ "$prefix" != - ] || below=/
		options=ro,nodev,nosuid,allow_other,umask=0222,connect_timeout=5,readwrite_timeout=15,retries=2
		options=$options,endpoint=$region,url=$url,$s3fs_login
		[ "$1" != "$at" ] || options=$options,use_cache=$cache/$n
		[ "$style" != path ] || options=$options,use_path_request_style
		timeout "$limit" s3fs "$bucket:$below" "$1" -o "$options"
	else
		fail "$step" failed "$at": the image has neither mount-s3 nor s3fs
	fi
}

detach() {
	timeout 10 umount "$1" 2>/dev/null || umount -l "$1" 2>/dev/null || true
}

# copy brings the volume to the local directory $1.
copy() {
	rm -rf "$1"
	mkdir -p "$1"
	if has aws; then
		source=s3://$bucket
		[ "$prefix" = - ] || source=$source/$prefix
		set -- "$1" --only-show-errors --region "$region" ${unsigned:+"$unsigned"}
		[ "$endpoint" = - ] || set -- "$@" --endpoint-url "$endpoint"
		target=$1
		shift
		aws s3 sync "$source" "$target" $patient "$@"
	else
		attach "$run/source-$n" || return 1
		target=$1
		(cd "$run/source-$n" && find . -type f -print0 | xargs -0 -r -n 8 -P 4 cp --parents -t "$target")
	fi
}

# inspect compares the names and sizes in directory $1 with its manifest; with
# $2 = extra, files that the manifest does not list are fine.
inspect() {
	[ -s "$1/$manifest" ] || fail verify failed "$at": it has no "$manifest"
	sed -n 's/^[0-9A-Fa-f]\{64\} [ *]\(\.\/\)\{0,1\}//p' "$1/$manifest" | sort >"$run/want-$n"
	[ -s "$run/want-$n" ] || fail verify failed "$at": "$manifest" lists nothing
	(cd "$1" && find . ! -type d | sed 's|^\./||' | grep -vxF -e "$manifest" | sort) >"$run/have-$n" || true
	missing=$(comm -23 "$run/want-$n" "$run/have-$n" | head -n 1)
	[ -z "$missing" ] || fail verify failed "$at": "$missing" is missing
	extra=$(comm -13 "$run/want-$n" "$run/have-$n" | head -n 1)
	[ -z "$extra" ] || [ "${2:-}" = extra ] || fail verify failed "$at": "$extra" is in no manifest
	if grep -qxF VERSION "$run/want-$n" && ! grep -q '[^[:space:]]' "$1/VERSION"; then
		fail verify failed "$at": VERSION is empty
	fi
	sed -n 's/^# size \([0-9][0-9]* .*\)$/\1/p' "$1/$manifest" >"$run/sizes-$n"
	while IFS=' ' read -r size name; do
		got=$(stat -L -c %s -- "$1/$name" 2>/dev/null || echo none)
		[ "$got" = "$size" ] || fail verify failed "$at": "$name" has "$got" bytes, the manifest says "$size"
	done <"$run/sizes-$n"
}

# hash compares every byte in directory $1 with its manifest.
hash() {
	if ! (cd "$1" && grep -E '^[0-9A-Fa-f]{64} [ *]' "$manifest" | xargs -d '\n' -r -n 1 -P 4 sh -c 'printf "%s\n" "$1" | sha256sum --check --strict --status' hash); then
		wrong=$(cd "$1" && sha256sum --check --strict --quiet "$manifest" 2>/dev/null | sed -n 's/: FAILED.*$//p' | head -n 1)
		[ -n "$wrong" ] || fail verify failed "$at": sha256sum does not understand "$manifest"
		want=$(grep -F -- "$wrong" "$1/$manifest" | grep -E '^[0-9A-Fa-f]{64} ' | head -n 1 | cut -c1-64)
		got=$(sha256sum <"$1/$wrong" | cut -c1-64)
		fail verify failed "$at": "$wrong" has sha256 "$got", the manifest says "$want"
	fi
}

prove() {
	say verify begin "$at"
	inspect "$@"
	[ "$verify" = size ] || hash "$1"
	say verify "done" "$at"
}

# same reports whether the local copy has the manifest that the store has. A
# store that is away leaves what was proven before.
same() {
	[ -s "$at/$manifest" ] || return 1
	peek >"$run/remote-$n" || return 0
	cmp -s "$run/remote-$n" "$at/$manifest"
}

# peek prints the manifest that the store has.
peek() {
	if has aws; then
		key=$manifest
		[ "$prefix" = - ] || key=$prefix/$manifest
		set -- --region "$region" ${unsigned:+"$unsigned"}
		[ "$endpoint" = - ] || set -- "$@" --endpoint-url "$endpoint"
		timeout "$limit" aws s3 cp "s3://$bucket/$key" - $patient "$@"
	else
		attach "$run/source-$n" && timeout "$limit" cat "$run/source-$n/$manifest"
	fi
}

bring() {
	step=mount
	say mount begin "$at" from "s3://$bucket/$prefix"
	# What lies at the place of a copy is replaced, so it must be one.
	if [ "$mode" = copy ] && [ -n "$(ls -A "$at" 2>/dev/null)" ] && [ ! -e "$at/$manifest" ]; then
		fail mount failed "$at": something else lies there, without a "$manifest"
	fi
	login
	if [ "$mode" = mount ]; then
		if ! attach "$at"; then
			detach "$at"
			fail mount failed "$at": the store does not answer, or refuses"$(because)"
		fi
		say mount "done" "$at"
		prove "$at"
	elif same; then
		say mount "done" "$at" is here already
		prove "$at" extra
	else
		if ! copy "$at.new"; then
			detach "$run/source-$n"
			fail mount failed "$at": it cannot be copied"$(because)"
		fi
		say mount "done" "$at"
		prove "$at.new"
		rm -rf "$at.old"
		[ ! -e "$at" ] || mv "$at" "$at.old"
		mv "$at.new" "$at"
		rm -rf "$at.old"
	fi
	detach "$run/source-$n"
	[ -z "$owner" ] || [ "$writable" = no ] || chown -R "$owner" "$at"
}

# restore brings data to its place, once for the order that this machine was made for.
restore() {
	n=data-$n step=restore
	say restore begin "$at"
	if [ -e "$at" ] && { [ "$kind" = litestream ] || [ -n "$(ls -A "$at")" ]; }; then
		[ "$(cat "$state/$n" 2>/dev/null)" = "$order" ] || fail restore failed "$at": other data lies there
		say restore "done" "$at" is here already
		return
	fi
	login
	mkdir -p "$(dirname "$at")"
	case $kind in
	litestream)
		has litestream || fail restore failed "$at": the image has no litestream
		rm -f "$at.new"
		litestream restore -config "$etc/$n.yml" -no-expand-env -integrity-check quick -o "$at.new" "$at" ||
			fail restore failed "$at": litestream does not restore it"$(because)"
		if [ -s "$etc/$n.sql" ] && has sqlite3; then
			sqlite3 -batch -bail "$at.new" <"$etc/$n.sql" >/dev/null || fail restore failed "$at": the check does not pass
		fi
		rm -f "$at.new-wal" "$at.new-shm" "$at.new-txid"
		mv "$at.new" "$at"
		;;
	files)
		copy "$at.new" || fail restore failed "$at": it cannot be copied"$(because)"
		detach "$run/source-$n"
		rm -f "$at.new/.understudy-synced"
		[ ! -d "$at" ] || rmdir "$at"
		mv "$at.new" "$at"
		;;
	esac
	[ -z "$owner" ] || chown -R "$owner" "$at"
	echo "$order" >"$state/$n"
	say restore "done" "$at"
}

each_data() {
	[ -e "$etc/data" ] || return 0
	order=$(cat "$etc/order")
	n=0
	while IFS="$tab" read -r kind bucket prefix at endpoint region style auth <&3; do
		n=$((${n#data-} + 1))
		restore
	done 3<"$etc/data"
}

each() {
	[ -e "$etc/volumes" ] || return 0
	n=0
	while IFS="$tab" read -r bucket prefix at manifest verify mode writable endpoint region style auth <&3; do
		n=$((n + 1))
		"$@"
	done 3<"$etc/volumes"
}

hash_late() { [ "$verify" != size ] || { hash "$at" && say hash "done" "$at"; }; }

take_down() {
	step=down
	detach "$run/source-$n"
	[ "$mode" != mount ] || detach "$at"
}

owner=
[ ! -r "$etc/owner" ] || owner=$(cat "$etc/owner")
case ${1:-} in
up)
	say boot begin
	each bring
	each_data
	say boot "done"
	;;
hash) each hash_late ;;
down) each take_down ;;
say)
	shift
	say "$@"
	;;
*)
	echo "usage: boot up | hash | down | say STEP..." >&2
	exit 2
	;;
esac
