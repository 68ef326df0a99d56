#!/bin/sh
# shellcheck disable=SC2154 # The client sets them.
# What busybox's DHCP client calls with an address.
[ "$1" = bound ] || exit 0
busybox ip address add "$ip/${mask:-24}" dev "$interface"
[ -z "$router" ] || busybox ip route add default via "${router%% *}" dev "$interface"
: >/etc/resolv.conf
for server in $dns; do echo "nameserver $server" >>/etc/resolv.conf; done
