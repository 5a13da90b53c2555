# shellcheck shell=bash
# What the verbs need from the machine. Each entry is COMMAND:PACKAGE; the
# package is only installed when the command is not there.

DEPS_BUILD=(git:git gcc:gcc npm:npm zstd:zstd)
DEPS_IMAGES=(mmdebstrap:mmdebstrap umoci:umoci)
DEPS_BENCH=(
  make:make dpkg-source:dpkg-dev # what crun is built with
  bwrap:bubblewrap runsc:runsc slirp4netns:slirp4netns crun:crun podman:podman # what machines are compared with
)
DEPS_LAB=(
  qemu-system-x86_64:qemu-system-x86 # brings virtiofsd
  mkfs.erofs:erofs-utils busybox:busybox-static e2fsck:e2fsprogs
)
DEPS_TEST=(
  shellcheck:shellcheck
  skopeo:skopeo docker-registry:docker-registry htpasswd:apache2-utils
  busybox:busybox-static e2fsck:e2fsprogs fsck.erofs:erofs-utils
  ssh-keygen:openssh-client strace:strace
  dnsmasq:dnsmasq-base ip:iproute2 newuidmap:uidmap setpriv:util-linux
  nginx:nginx-light curl:curl dig:dnsutils iperf3:iperf3
)

# need ENTRY...: installs the packages of missing commands, and asks for Go.
need() {
  need_build
  local entry missing=()
  for entry; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}")
  done
  ((${#missing[@]})) || return 0
  if ((EUID)); then
    die "missing: ${missing[*]}; as root: apt-get install ${missing[*]}"
  fi
  say "installing Debian packages: ${missing[*]}"
  apt-get update -q
  # RUNLEVEL keeps services, such as nginx, from being started.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# need_build checks for a Go that go.mod accepts; the go command itself fetches
# the modules, pinned and checked by go.sum.
need_build() {
  command -v go >/dev/null || die "Go is missing: install Go $(sed -n 's/^go //p' go.mod) or newer"
  go list -m >/dev/null || die "this Go ($(go env GOVERSION)) cannot build go.mod's go $(sed -n 's/^go //p' go.mod)"
}
