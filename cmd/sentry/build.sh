#!/bin/sh
# Builds the gvisor engine's executable from the pinned, patched gVisor.
#
#   cmd/sentry/build.sh OUT      writes OUT; GOARCH comes from the environment
#
# The module cache is read-only and shared, so a patched copy of gVisor lives in
# build/. It is made again when its version or a patch changes. That the build
# takes it from there is this machine's business and stays out of go.mod.
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

# The compiler's cache knows a package by its directory, so that stays the same
# when a patch changes, and only what the patch touches is compiled again.
tree=$build/gvisor
pinned=$(go list -m -f '{{.Version}}' "$module")
wanted="$pinned $(cat build.sh patches/*.patch precompile/*.go | sha256sum)"

cp go.mod "$build/sentry.mod"
cp go.sum "$build/sentry.sum"
go mod edit -replace "$module=../../build/gvisor" "$build/sentry.mod"

if [ "$(cat "$build/gvisor.is" 2>/dev/null)" != "$wanted" ]; then
	rm -rf "$build/gvisor.is" "$tree"
	original=$(go mod download -json "$module" | sed -n 's/^.*"Dir": "\(.*\)",*$/\1/p')
	cp -r "$original" "$tree"
	chmod -R u+w "$tree"
	# git apply works on any directory, but believes that it is inside the
	# repository around it unless told where to stop looking.
	(cd "$tree" && GIT_CEILING_DIRECTORIES=$build git apply --whitespace=nowarn "$here"/patches/*.patch)
	# What saves and loads every type for gVisor's checkpoints, which we do not
	# take: a fourteenth of the executable, registered at each start.
	find "$tree" -name '*_state_autogen.go' -delete
	# With the flags of the build below, so that nothing is compiled twice.
	CGO_ENABLED=0 GOARCH='' go run -modfile "$build/sentry.mod" -trimpath -buildvcs=false ./precompile >"$tree/programs"
	mv "$tree/programs" "$tree/runsc/boot/filter/programs.go"
	printf '%s\n' "$wanted" >"$build/gvisor.is"
fi

mkdir -p "$(dirname "$out")"
CGO_ENABLED=0 go build -modfile "$build/sentry.mod" -trimpath -buildvcs=false \
	-ldflags "-s -w -buildid= -X $module/runsc/version.version=$pinned" -o "$out" .
