#!/bin/sh
# The suite makes real journals with systemd-journal-remote and reads them with journalctl; no systemd has to run.
# Installs them where SHIPPER_TEST_APT=1, else says how.
set -eu
[ -x /lib/systemd/systemd-journal-remote ] && command -v journalctl >/dev/null && exit 0
if [ "${SHIPPER_TEST_APT:-}" = 1 ]; then
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd systemd-journal-remote >/dev/null
  exit 0
fi
echo "The tests need journalctl and systemd-journal-remote. On Debian: sudo apt-get install -y --no-install-recommends systemd systemd-journal-remote" >&2
echo "(or run with SHIPPER_TEST_APT=1 to have it installed)" >&2
exit 1
