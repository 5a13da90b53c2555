# shellcheck shell=bash
# The images that demo, tests and benchmark pack, made once and kept below
# build/images: real ones from Debian's packages, and one of a static busybox.

# once FILE COMMAND...: runs COMMAND with a temporary name unless FILE is there.
once() {
  local file=$1
  shift
  [[ -e $file ]] && return
  mkdir -p "$(dirname "$file")"
  rm -rf "$file.part"
  "$@" "$file.part"
  mv "$file.part" "$file"
}

# debian PACKAGES OUT.tar: a minimal Debian 12 with PACKAGES, as a tar.
debian() {
  say "image: Debian 12 with $1"
  mmdebstrap --quiet --variant=minbase --format=tar --include="$1" bookworm "$2"
}

# oci CONFIG ROOTFS.tar OUT: an OCI layout of one layer, tagged "latest".
# CONFIG is a file of umoci-config flags, one a line.
oci() {
  local config=$1 rootfs=$2 layout=$3 flags
  mapfile -t flags <<<"$config"
  umoci init --layout "$layout"
  umoci new --image "$layout:latest"
  umoci raw add-layer --image "$layout:latest" "$rootfs"
  umoci config --image "$layout:latest" "${flags[@]}"
  umoci gc --layout "$layout"
  chmod -R a+rX "$layout"
}

make_python_image() {
  once "$IMAGES/python.tar" debian python3,ca-certificates
  once "$IMAGES/python" oci --config.cmd=python3 "$IMAGES/python.tar"
}

# The busybox image: every applet as a symlink, a user, and a config that sets
# whatever an image can say about running it.
busybox_root() {
  local tree applet
  tree=$(mktemp -d)
  mkdir -p "$tree"/{bin,etc,home/dev,root,proc,sys,dev,work} "$tree/tmp"
  chmod 1777 "$tree/tmp"
  cp "$(command -v busybox)" "$tree/bin/busybox"
  for applet in $(busybox --list); do
    [[ $applet == busybox ]] || ln -s busybox "$tree/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\ndev:x:1234:1234::/home/dev:/bin/sh\n' >"$tree/etc/passwd"
  printf 'root:x:0:\ndev:x:1234:\nextra:x:2345:dev\n' >"$tree/etc/group"
  printf 'noexec\n' >"$tree/bin/not-executable"
  printf '#!/bin/sh\necho "start of the image: $*"\n' >"$tree/bin/start"
  chmod 0644 "$tree/bin/not-executable"
  chmod 0755 "$tree/bin/start"
  tar -C "$tree" --sort=name --mtime=@0 --owner=0 --group=0 -cf "$1" .
  rm -rf "$tree"
}

make_busybox_images() {
  once "$IMAGES/busybox.tar" busybox_root
  once "$IMAGES/busybox" oci --config.cmd=sh "$IMAGES/busybox.tar"
  once "$IMAGES/configured" oci "$(printf '%s\n' \
    --config.entrypoint=/bin/echo --config.entrypoint=entry --config.cmd=from --config.cmd=cmd \
    --config.env=FROM_IMAGE=yes --config.workingdir=/work --config.user=dev \
    --config.label=org.example.kind=test --config.exposedports=8080/tcp --config.stopsignal=SIGINT)" \
    "$IMAGES/busybox.tar"
}

# Nothing but one static executable: no shell, no /etc, no /tmp.
static_root() {
  local tree
  tree=$(mktemp -d)
  cp "$(command -v busybox)" "$tree/busybox"
  tar -C "$tree" --mtime=@0 --owner=0 --group=0 -cf "$1" busybox
  rm -rf "$tree"
}

make_static_image() {
  once "$IMAGES/static.tar" static_root
  once "$IMAGES/static" oci --config.entrypoint=/busybox "$IMAGES/static.tar"
}

make_images() {
  make_static_image
  make_busybox_images
  make_python_image
}

# The benchmark's large image: the Debian above and 1.8 GB of files beside it,
# half of them noise, half of them text.
make_bench_images() {
  once "$IMAGES/2gb" big_image
}

big_image() {
  local tree
  tree=$(mktemp -d "$IMAGES/big.XXXXXX")
  mkdir -p "$tree/srv"
  go run ./bench/fill -mib 1800 "$tree/srv"
  tar -C "$tree" --sort=name --mtime=@0 --owner=0 --group=0 -cf "$tree.tar" .
  rm -rf "$tree"
  oci --config.cmd=python3 "$IMAGES/python.tar" "$1"
  umoci raw add-layer --image "$1:latest" "$tree.tar"
  rm "$tree.tar"
}
