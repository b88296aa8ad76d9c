#!/bin/sh
# The suite builds the manifests with kubectl and checks the systemd unit and the alert rules with their own tools.
# Installs what is missing where SHIPPER_TEST_APT=1, else says how.
set -eu
missing=""
command -v kubectl >/dev/null || missing="$missing kubernetes-client"
command -v systemd-analyze >/dev/null || missing="$missing systemd"
command -v promtool >/dev/null || missing="$missing prometheus"
command -v dpkg-deb >/dev/null || missing="$missing dpkg"
command -v debootstrap >/dev/null || [ -x /usr/sbin/debootstrap ] || missing="$missing debootstrap"
[ -z "$missing" ] && exit 0
if [ "${SHIPPER_TEST_APT:-}" = 1 ]; then
  apt-get update -qq
  for package in $missing; do   # no daemon of theirs is wanted, and none is started where there is no systemd
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
  done
  exit 0
fi
echo "The tests of packaging/ need:$missing. On Debian: sudo apt-get install -y --no-install-recommends$missing" >&2
echo "(or run with SHIPPER_TEST_APT=1 to have it installed)" >&2
exit 1
