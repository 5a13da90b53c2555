#!/bin/sh
# Builds the gvisor engine's executable from the pinned, patched gVisor.
#
#   cmd/sentry/build.sh OUT             writes OUT; GOARCH comes from the environment
#   cmd/sentry/build.sh OUT frontdoor   the same of gVisor's own commands
#
# The module cache is read-only and shared, so patched copies of gVisor and of
# the library for protocol buffers live in build/. They are made again when a
# version or a patch changes. That the build takes them from there is this
# machine's business and stays out of go.mod.
set -eu

usage='usage: cmd/sentry/build.sh OUT [frontdoor]'
out=${1:?$usage} command=${2:-}
case $out in /*) ;; *) out=$PWD/$out ;; esac
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$here/../.." && pwd)/build
gvisor=gvisor.dev/gvisor
protobuf=google.golang.org/protobuf
cd "$here"

# One at a time: two builds would take each other's trees away.
mkdir -p "$build"
if [ -z "${SENTRY_LOCKED:-}" ]; then
	SENTRY_LOCKED=1 exec flock "$build/sentry.lock" "$here/build.sh" "$out" "$command"
fi

# The compiler's cache knows a package by its directory, so that stays the same
# when a patch changes, and only what the patch touches is compiled again.
pinned=$(go list -m -f '{{.Version}}' "$gvisor")
wanted="$(go list -m "$gvisor" "$protobuf") $(cat build.sh patches/*/*.patch precompile/*.go | sha256sum)"

cp go.mod "$build/sentry.mod"
cp go.sum "$build/sentry.sum"
for module in "$gvisor" "$protobuf"; do
	go mod edit -replace "$module=../../build/${module##*/}" "$build/sentry.mod"
done

# What only starts and configures need not be fast: without inlining the
# executable is a fiftieth smaller.
set -- -gcflags='all=-dwarf=false -l' -gcflags="$gvisor/pkg/...=-dwarf=false" -gcflags=std=-dwarf=false

# patched copies a module and applies what patches/ has for it.
patched() {
	tree=$build/${1##*/}
	rm -rf "$tree"
	original=$(go mod download -json "$1" | sed -n 's/^.*"Dir": "\(.*\)",*$/\1/p')
	cp -r --no-preserve=mode "$original" "$tree" # the module cache is read-only
	# git apply works on any directory, but believes that it is inside the
	# repository around it unless told where to stop looking.
	(cd "$tree" && GIT_CEILING_DIRECTORIES=$build git apply --whitespace=nowarn "$here/patches/${1##*/}"/*.patch)
}

if [ "$(cat "$build/sentry.is" 2>/dev/null)" != "$wanted" ]; then
	rm -f "$build/sentry.is"
	patched "$gvisor"
	patched "$protobuf"
	# What saves and loads every type for gVisor's checkpoints, which we do not
	# take: a fourteenth of the executable, registered at each start.
	find "$build/gvisor" -name '*_state_autogen.go' -delete
	# With the flags of the build below, so that nothing is compiled twice.
	CGO_ENABLED=0 GOARCH='' go run -modfile "$build/sentry.mod" -trimpath -buildvcs=false "$@" ./precompile >"$build/programs"
	mv "$build/programs" "$build/gvisor/runsc/boot/filter/programs.go"
	printf '%s\n' "$wanted" >"$build/sentry.is"
fi

mkdir -p "$(dirname "$out")"
CGO_ENABLED=0 go build -modfile "$build/sentry.mod" -trimpath -buildvcs=false "$@" ${command:+-tags "$command"} \
	-ldflags "-s -w -buildid= -X $gvisor/runsc/version.version=$pinned" -o "$out" "./$command"
