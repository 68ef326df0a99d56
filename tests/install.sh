#!/bin/sh
# Installs the Debian packages and Go programs that are missing for a purpose,
# and says which and why. Where nothing is missing, it does and says nothing.
#
#   tests/install.sh demo|test|vm
set -eu
cd "$(dirname "$0")/.."
purpose=${1:-}
case $purpose in
demo | test | vm) ;;
*)
	echo "usage: tests/install.sh demo|test|vm" >&2
	exit 2
	;;
esac

# Name one package: for which purposes, how it is seen that it is there (a program or a path), and what it is for.
needs() {
	cat <<'EOF'
demo,test,vm haproxy              haproxy                                       the load balancer in front of the speech service
demo,test prometheus              prometheus                                    notices that the speech service is gone
demo,test prometheus-alertmanager prometheus-alertmanager                       sends the alert to Understudy
demo,test,vm pocketsphinx         pocketsphinx_batch                            the speech recognizer that is protected
demo,test,vm pocketsphinx-en-us   /usr/share/pocketsphinx/model/en-us           its model
demo,test,vm flite                flite                                         speaks the recordings that it recognizes
demo,test,vm sox                  sox                                           converts the recordings
test      nginx-light             nginx                                         the other load balancer
test      etcd-server             etcd                                          config center and epoch store
demo,test s3fs                    s3fs                                          mounts model volumes from S3
test      sqlite3                 sqlite3                                       looks into the databases that are replicated
test      ffmpeg                  ffmpeg                                        decodes the recordings that sox does not know
test,vm   socat                   socat                                         the bare recovery script that benchmarks compare with
test      curl                    curl                                          the same
test      jq                      jq                                            the same
test      chromium                chromium                                      looks at the web pages
test      openssh-server          sshd                                          the other host on which a standby is started by ssh
test      cloud-init              cloud-init                                    checks the documents that machines boot with
vm        qemu-system-x86         qemu-system-x86_64                            runs the virtual machines
vm        qemu-utils              qemu-img                                      makes their disks
vm        libvirt-clients         virsh                                         asks libvirt for them
vm        libvirt-daemon          libvirtd                                      makes them
vm        libvirt-daemon-driver-qemu /usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so  the same
vm        debootstrap             debootstrap                                   builds the image that they boot from
test,vm   genisoimage             isoinfo                                       reads the seeds that virtual machines are given
test      keepalived              keepalived                                    reads the configuration that is shipped for it
test      iproute2                ip                                            cuts the network of a test off
EOF
}

there() {
	case $1 in
	/*) [ -e "$1" ] ;;
	*) PATH=$PATH:/usr/sbin:/sbin:/usr/local/bin command -v "$1" >/dev/null ;;
	esac
}

# missing prints "package why" of what is not there.
missing() {
	needs | while read -r purposes package probe why; do
		case ,$purposes, in *,"$purpose",*) there "$probe" || echo "$package $why" ;; esac
	done
}

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install installs packages without starting their services: tests and the
# demo start their own, on ports of their own.
install() {
	log=$(mktemp)
	policy=/usr/sbin/policy-rc.d
	ours=
	# An end in the middle must not leave the machine without service starts.
	trap 'if [ -n "$ours" ]; then as_root rm -f "$policy"; fi; rm -f "$log"' EXIT
	trap 'exit 130' INT TERM HUP
	if [ ! -e "$policy" ]; then
		ours=yes
		as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
	fi
	case " $* " in
	# We want its checker. Without this file it would set up this machine anew at its next boot.
	*" cloud-init "*) as_root sh -c 'mkdir -p /etc/cloud && touch /etc/cloud/cloud-init.disabled' ;;
	esac
	if ! { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		echo "apt-get could not install them; its last words are above." >&2
		exit 1
	fi
	if [ -d /run/systemd/system ]; then
		for package in "$@"; do
			for unit in $(dpkg -L "$package" | sed -nE 's#^(/usr)?/lib/systemd/system/([^@]*\.(service|socket))$#\2#p'); do
				as_root systemctl disable --quiet "$unit" >/dev/null 2>&1 || true
			done
		done
	fi
}

if ! command -v go >/dev/null; then
	echo "Go is missing: it builds everything here. Version $(sed -n 's/^go //p' go.mod) or newer, from https://go.dev/dl/" >&2
	exit 1
fi

lacking=$(missing)
if [ -n "$lacking" ]; then
	packages=$(echo "$lacking" | cut -d' ' -f1 | paste -sd' ')
	echo "Missing on this machine for make $purpose:"
	echo "$lacking" | while read -r package why; do printf '   %-24s %s\n' "$package" "$why"; done
	if ! command -v apt-get >/dev/null; then
		echo "There is no apt-get here. Install these programs in the way of this system, then run make $purpose again." >&2
		exit 1
	fi
	if [ "$(id -u)" != 0 ] && ! { command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; }; then
		printf 'Installing needs root. As root, run:\n   apt-get install --no-install-recommends %s\nThen run make %s again.\n' "$packages" "$purpose" >&2
		exit 1
	fi
	echo "Installing them with apt-get; their services are not started. This can take a minute or two."
	# shellcheck disable=SC2086 # They are separate words.
	install $packages
	lacking=$(missing)
	if [ -n "$lacking" ]; then
		echo "apt-get is through, and yet these are not found: $(echo "$lacking" | cut -d' ' -f1 | paste -sd' ')" >&2
		exit 1
	fi
	echo "Installed."
fi

# tool installs a Go program that nobody packages, in the version that a file of tests/harness names.
#
#   tool PROGRAM PATH PACKAGE FILE WHY
tool() {
	if [ -n "$2" ] || PATH=$PATH:$(go env GOPATH)/bin:$(go env GOBIN) command -v "$1" >/dev/null; then return; fi
	version=$(sed -n 's/^.*Version = "\(.*\)"$/\1/p' "tests/harness/$4")
	echo "Missing on this machine: $1, $5. Building it with go install, once; that can take 2 minutes."
	GOFLAGS="" go install "$3@$version"
}
tool minio "${UNDERSTUDY_MINIO:-}" github.com/minio/minio minio.go "the S3 server"
tool litestream "${UNDERSTUDY_LITESTREAM:-}" github.com/benbjohnson/litestream/cmd/litestream litestream.go "which replicates the service's database"
