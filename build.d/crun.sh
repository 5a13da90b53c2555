# shellcheck shell=bash
# crun, which the benchmark of exec in a virtual machine is measured against:
# built from Debian's source, at the versions in crun.pins.

CRUN_PINS=$TOP/build.d/crun.pins

# krun_source DIR PACKAGE VERSION: a source package's files into DIR. The
# machine's own apt sources are asked for sources too, in a configuration of
# our own, so that the machine's stays as it is.
krun_source() {
  local apt=$KRUN/apt
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  # shellcheck disable=SC2016 # apt fills these in
  apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    sort -u >"$apt/sources.list"
  set -- "$@" -qq -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=- \
    -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" \
    -o APT::Sandbox::User=root -o APT::Update::Post-Invoke-Success=
  [ -n "$(find "$apt/lists" -name '*_Sources*' -print -quit)" ] || apt-get "${@:4}" update
  (cd "$1" && apt-get "${@:4}" source --download-only "$2=$3" >/dev/null)
}

# crun_build: an OCI runtime to measure our exec against, static and small; no
# pack carries it. Debian's patches are applied by dpkg-source; touching the
# generated files afterwards keeps make from wanting autotools.
crun_build() {
  local tmp=$KRUN/.crun sys src pkg f
  [ ! -e "$KRUN_PARTS/crun" ] || return 0
  krun_fetch_all "$CRUN_PINS"
  say "build: crun (static, half a minute)"
  rm -rf "$tmp"
  mkdir -p "$tmp/dsc"
  sys=$tmp/sys src=$tmp/crun
  for f in $(krun_pins dsc "$CRUN_PINS" | cut -d' ' -f1); do cp "$(krun_file dsc "$f")" "$tmp/dsc/${f#*/}"; done
  for pkg in libcap-dev libseccomp-dev; do dpkg-deb -x "$(krun_file deb "$pkg")" "$sys"; done
  dpkg-source --no-check -x "$tmp"/dsc/*.dsc "$src" >"$tmp/log" 2>&1 || die "crun's source: see $tmp/log"
  (
    cd "$src"
    for f in aclocal.m4 configure config.h.in; do find . -name "$f" -exec touch {} +; done
    find . -name Makefile.in -exec touch {} +
    inc="-I$sys/usr/include -I$sys/usr/include/x86_64-linux-gnu -I$src/libocispec/yajl/src/headers -I$src/libocispec/yajl/src"
    lib="-L$sys/usr/lib/x86_64-linux-gnu"
    ac_cv_search_gcry_check_version=no PKG_CONFIG=true SECCOMP_CFLAGS="-I$sys/usr/include" SECCOMP_LIBS=-lseccomp \
      CPPFLAGS="$inc" CFLAGS="-Os -ffunction-sections -fdata-sections -ffile-prefix-map=$src=." LDFLAGS="$lib -Wl,--gc-sections" \
      ./configure --disable-systemd --disable-dl --disable-criu --enable-embedded-yajl --disable-dependency-tracking
    nice make -j"$(nproc)" LDFLAGS="$lib -all-static -Wl,--gc-sections"
  ) >>"$tmp/log" 2>&1 || die "crun does not build: see $tmp/log"
  strip -o "$tmp/crun.stripped" "$src/crun"
  mv "$tmp/crun.stripped" "$KRUN_PARTS/crun"
  rm -rf "$tmp"
}
