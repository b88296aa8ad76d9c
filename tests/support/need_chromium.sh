#!/bin/sh
# The suite looks at the page in a real browser. Installs it where SHIPPER_TEST_APT=1, else says how.
set -eu
command -v chromium >/dev/null && command -v chromedriver >/dev/null && exit 0
if [ "${SHIPPER_TEST_APT:-}" = 1 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null
  exit 0
fi
echo "The tests of the page need a browser. On Debian: sudo apt-get install -y --no-install-recommends chromium chromium-driver" >&2
echo "(or run with SHIPPER_TEST_APT=1 to have it installed)" >&2
exit 1
