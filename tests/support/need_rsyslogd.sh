#!/bin/sh
# The suite talks to the real rsyslogd. Installs it where SHIPPER_TEST_APT=1, else says how.
set -eu
ls /usr/lib/*/rsyslog/lmnsd_gtls.so /usr/lib/*/rsyslog/imrelp.so >/dev/null 2>&1 && [ -x /usr/sbin/rsyslogd ] && exit 0
if [ "${SHIPPER_TEST_APT:-}" = 1 ]; then
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rsyslog rsyslog-gnutls rsyslog-relp >/dev/null
  exit 0
fi
echo "The tests need the real rsyslogd. On Debian: sudo apt-get install -y --no-install-recommends rsyslog rsyslog-gnutls rsyslog-relp" >&2
echo "(or run with SHIPPER_TEST_APT=1 to have it installed)" >&2
exit 1
