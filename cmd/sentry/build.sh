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

pinned=$(go list -m -f '{{.Version}}' "$module")
patches=$(cat patches/*.patch | sha256sum | cut -c1-12)
tree=$build/gvisor-$pinned-$patches

if [ ! -d "$tree" ]; then
	mkdir -p "$build"
	rm -rf "$build"/gvisor-*
	original=$(go mod download -json "$module" | sed -n 's/^.*"Dir": "\(.*\)",*$/\1/p')
	cp -r "$original" "$tree.new"
	chmod -R u+w "$tree.new"
	# git apply works on any directory, but believes that it is inside the
	# repository around it unless told where to stop looking.
	(cd "$tree.new" && GIT_CEILING_DIRECTORIES=$build git apply --whitespace=nowarn "$here"/patches/*.patch)
	mv "$tree.new" "$tree"
fi

# The replacement is this machine's business, so it stays out of go.mod.
cp go.mod "$build/sentry.mod"
cp go.sum "$build/sentry.sum"
go mod edit -replace "$module=$tree" "$build/sentry.mod"

mkdir -p "$(dirname "$out")"
CGO_ENABLED=0 go build -modfile "$build/sentry.mod" -trimpath -buildvcs=false \
	-ldflags "-s -w -X $module/runsc/version.version=${VERSION:-dev}" -o "$out" .
