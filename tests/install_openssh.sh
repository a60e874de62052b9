#!/bin/sh
# An OpenSSH server for the tests with real managed hosts, from Debian's packages. Nothing is started: the tests run
# servers of their own on loopback. Where it cannot be had those tests are skipped, and say so.
set -u
PATH=$PATH:/usr/sbin:/usr/local/sbin
if command -v sshd >/dev/null && command -v ssh >/dev/null; then
	exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "There is no OpenSSH server, and no right to install one: the tests that need it will be skipped."
	exit 0
fi
echo "Installing an OpenSSH server for the tests"
policy=/usr/sbin/policy-rc.d # asked by the packages before they start a service
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get -q update && apt-get -qy install --no-install-recommends openssh-server openssh-client; } >"$log" 2>&1; then
	tail -n 5 "$log"
	echo "It could not be installed: the tests that need it will be skipped."
fi
rm -f "$log"
