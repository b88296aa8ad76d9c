#!/bin/sh
# make deb: build/shipper_VERSION_ARCH.deb with the pinned dependencies inside. Needs dpkg-deb, and a Python of the version
# that the target has (PYTHON=python3.11: Debian 12; python3.13: Debian 13), because compiled libraries fit only that one.
#
#   /usr/bin/shipper                     the launcher
#   /usr/lib/shipper/site-packages       shipper and requirements.lock, by hash, compiled
#   /lib/systemd/system/shipper.service  not enabled: it needs a receiver first
#   /etc/shipper/shipper.yaml, /etc/default/shipper    conffiles
set -eu
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
OUT=${OUT:-build}
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}"
export PIP_DISABLE_PIP_VERSION_CHECK=1

arch=$(dpkg --print-architecture)
version=${VERSION:-$(sed -n 's/^__version__ = "\(.*\)"/\1/p' shipper/__init__.py)}
minor=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
next=$("$PYTHON" -c 'import sys; print("%d.%d" % (sys.version_info[0], sys.version_info[1] + 1))')

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
site=$root/usr/lib/shipper/site-packages

"$PYTHON" -m venv "$work/venv"
pip="$work/venv/bin/pip --quiet"
$pip install --require-hashes --only-binary=:all: -r packaging/build.lock
$pip install --require-hashes --only-binary=:all: --no-compile --target "$site" -r packaging/requirements.lock
$pip wheel --no-deps --no-build-isolation --no-index --wheel-dir "$work/wheels" .
rm -rf "$site/bin"                  # of the libraries; pip warns of what is there
$pip install --no-deps --no-index --no-compile --target "$site" "$work"/wheels/shipper-*.whl
rm -rf "$site/bin"
# The source decides, not its time: files of a package get the package's.
"$work/venv/bin/python" -m compileall -q --invalidation-mode unchecked-hash -s "$root" "$site"

install -D -m 0755 packaging/deb/shipper "$root/usr/bin/shipper"
install -D -m 0644 systemd/shipper.service "$root/lib/systemd/system/shipper.service"
install -D -m 0644 config/bare-host.yaml "$root/etc/shipper/shipper.yaml"
install -D -m 0644 packaging/deb/default "$root/etc/default/shipper"
# Every page, at the path that messages and runbooks name, with what the pages link to.
for page in CHANGELOG.md README.md $(find docs config packaging/monitoring -type f); do
  install -D -m 0644 "$page" "$root/usr/share/doc/shipper/$page"
done
install -m 0644 packaging/deb/copyright "$root/usr/share/doc/shipper/copyright"

install -d "$root/DEBIAN"
sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@MINOR@/$minor/; s/@NEXT@/$next/; s/@SIZE@/$(du -sk "$root" | cut -f1)/" \
  packaging/deb/debian/control > "$root/DEBIAN/control"
install -m 0644 packaging/deb/debian/conffiles "$root/DEBIAN/conffiles"
install -m 0755 packaging/deb/debian/postinst packaging/deb/debian/prerm packaging/deb/debian/postrm "$root/DEBIAN/"
(cd "$root" && find . -type f -not -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum > DEBIAN/md5sums)
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
chmod -R u=rwX,go=rX "$root/usr" "$root/etc" "$root/lib"

mkdir -p "$OUT"
dpkg-deb --root-owner-group -Zxz --build "$root" "$OUT/shipper_${version}_${arch}.deb"
