#!/bin/sh
# Builds the gvisor engine's executable from the pinned, patched gVisor.
#
#   cmd/sentry/build.sh OUT      writes OUT; VERSION and GOARCH come from the environment
#
# The module cache is read-only and shared, so the patched copy of gVisor lives
# in build/, named after its version and its patches: a change of either makes
# a new copy, and nothing is copied or compiled twice.
set -eu

out=${1:?usage: cmd/sentry/build.sh OUT}
case $out in /*) ;; *) out=$PWD/$out ;; esac
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$here/../.." && pwd)/build
module=gvisor.dev/gvisor
cd "$here"

# One at a time: two builds would take each other's tree away.
mkdir -p "$build"
if [ -z "${SENTRY_LOCKED:-}" ]; then
	SENTRY_LOCKED=1 exec flock "$build/sentry.lock" "$here/build.sh" "$out"
fi

# use makes the build take gVisor from a directory. That is this machine's
# business, so it stays out of go.mod.
use() {
	cp go.mod "$build/sentry.mod"
	cp go.sum "$build/sentry.sum"
	go mod edit -replace "$module=$1" "$build/sentry.mod"
}

pinned=$(go list -m -f '{{.Version}}' "$module")
patches=$(cat patches/*.patch precompile/*.go | sha256sum | cut -c1-12)
tree=$build/gvisor-$pinned-$patches

if [ ! -d "$tree" ]; then
	rm -rf "$build"/gvisor-*
	original=$(go mod download -json "$module" | sed -n 's/^.*"Dir": "\(.*\)",*$/\1/p')
	cp -r "$original" "$tree.new"
	chmod -R u+w "$tree.new"
	# git apply works on any directory, but believes that it is inside the
	# repository around it unless told where to stop looking.
	(cd "$tree.new" && GIT_CEILING_DIRECTORIES=$build git apply --whitespace=nowarn "$here"/patches/*.patch)
	use "../../build/${tree##*/}.new"
	# With the flags of the build below, so that nothing is compiled twice.
	CGO_ENABLED=0 GOARCH='' go run -modfile "$build/sentry.mod" -trimpath -buildvcs=false ./precompile >"$tree.new/programs"
	mv "$tree.new/programs" "$tree.new/runsc/boot/filter/programs.go"
	mv "$tree.new" "$tree"
fi
use "../../build/${tree##*/}"

mkdir -p "$(dirname "$out")"
CGO_ENABLED=0 go build -modfile "$build/sentry.mod" -trimpath -buildvcs=false \
	-ldflags "-s -w -buildid= -X $module/runsc/version.version=${VERSION:-dev}" -o "$out" .
