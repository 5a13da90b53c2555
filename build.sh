#!/usr/bin/env bash
# The one entry for building, trying, testing and measuring smolVM.
# Every verb is a function below; `./build.sh help` lists them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
TOP=$PWD
BIN=$TOP/build/bin     # the parts: what a pack carries
TOOLS=$TOP/build/tools # what only developers need, at pinned versions
IMAGES=$TOP/build/images
DIST=$TOP/dist
# What Go has compiled for another clone of this commit is good for this one.
# Tests, tools and smolvm share it, because they have one set of flags; a pack's
# parts have others. None of them needs a C library, or what only a debugger reads,
# a seventh of compiling.
export CGO_ENABLED=0 GOFLAGS="-trimpath -gcflags=all=-dwarf=false ${GOFLAGS:-}"

# shellcheck source=build.d/deps.sh
. build.d/deps.sh
# shellcheck source=build.d/images.sh
. build.d/images.sh
# shellcheck source=build.d/demo.sh
. build.d/demo.sh
# shellcheck source=build.d/check.sh
. build.d/check.sh
# shellcheck source=build.d/krun.sh
. build.d/krun.sh
# shellcheck source=build.d/crun.sh
. build.d/crun.sh
# shellcheck source=build.d/lab.sh
. build.d/lab.sh

say() { printf '\n== %s\n' "$*" >&2; }
die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

# version names the commit, or a release if the commit is one.
version() {
  git describe --tags --exact-match 2>/dev/null ||
    TZ=UTC0 git log -1 --date=format-local:%Y%m%d%H%M%S --format=0.0.0-%cd-%h 2>/dev/null ||
    echo 0.0.0-unknown
}

# go_binary OUT PACKAGE: a static, reproducible executable.
go_binary() {
  go build -trimpath -buildvcs=false \
    -ldflags "-s -w -buildid= -X github.com/smolvm/smolvm/cmd/internal/cli.Version=$VERSION" \
    -o "$1" "$2"
}

# small_binary is the same for what a pack carries, a tenth smaller: functions are
# inlined only in the packages that are named after it, where that pays.
small_binary() {
  local compiler="'-gcflags=all=-dwarf=false -l'" pkg
  for pkg in "${@:3}"; do compiler+=" -gcflags=$pkg=-dwarf=false"; done
  GOFLAGS="$GOFLAGS $compiler" go_binary "$1" "$2"
}

# outside keeps "./..." from descending into build/, whatever lies there.
outside() {
  mkdir -p "$TOP/build"
  [[ -e $TOP/build/go.mod ]] || printf 'module build\n' >"$TOP/build/go.mod"
}

cmd_build() { # build everything into dist/
  need "${DEPS_BUILD[@]}"
  VERSION=$(version)
  export VERSION
  mkdir -p "$BIN" "$DIST"
  say "build: stub, runtime, network, agent, sentry ($VERSION; the sentry's first build takes two minutes)"
  local krun
  krun_parts & krun=$! # which mostly waits for what it fetches
  small_binary "$BIN/stub" ./cmd/stub
  small_binary "$BIN/runtime" ./cmd/runtime runtime/...
  small_binary "$BIN/agent" ./cmd/agent runtime/...
  small_binary "$BIN/network" ./cmd/network runtime/... gvisor.dev/gvisor/pkg/...
  cmd/sentry/build.sh "$BIN/sentry"
  wait "$krun"
  small_binary "$BIN/vmm" ./cmd/vmm
  say "build: the parts that every pack carries"
  go run ./cmd/mkparts -version "$VERSION" -bin "$BIN" -notices THIRD_PARTY.txt -o "$DIST/parts.smolmachine" -frames "${XDG_CACHE_HOME:-$HOME/.cache}/smolvm-build" \
    -part network="$BIN/network" -part vmm="$BIN/vmm" -part libkrun="$KRUN_PARTS/libkrun.so.1" -part libc="$KRUN_PARTS/libc.tar" -part kernel="$KRUN_PARTS/kernel.elf" \
    -component libkrun="$KRUN_LIBKRUN,Apache-2.0" -component "Linux=$KRUN_LINUX,GPL-2.0-only" \
    -component "glibc=$(krun_version libc6),LGPL-2.1-or-later" -component "libgcc=$(krun_version libgcc-s1),GPL-3.0-or-later WITH GCC-exception-3.1" \
    -component "libcap-ng=$(krun_version libcap-ng0),LGPL-2.1-or-later"
  go_binary "$DIST/smolvm" ./cmd/smolvm
  ls -l "$DIST"
}

cmd_deps() { # install what every verb here needs (Debian packages), saying so first
  need "${DEPS_BUILD[@]}" "${DEPS_IMAGES[@]}" "${DEPS_TEST[@]}" "${DEPS_LAB[@]}" "${DEPS_BENCH[@]}"
}

cmd_demo() { # pack a real Debian with python3 and run it
  need "${DEPS_BUILD[@]}" "${DEPS_IMAGES[@]}"
  cmd_build
  demo
}

cmd_test() { # every check and test there is; what CI runs
  local linter images
  need_build
  trap wait EXIT # a failure leaves nothing behind
  tool "$LINTER" >/dev/null & linter=$! # is compiled while packages arrive
  need "${DEPS_BUILD[@]}" "${DEPS_IMAGES[@]}" "${DEPS_TEST[@]}" "${DEPS_LAB[@]}"
  make_images & images=$! # waits for packages to arrive and to be unpacked
  wait "$linter"
  cmd_lint
  cmd_build
  wait "$images"
  unit_tests
  fuzz 5000x
  cli_tests
  krun_tests short
  say "test: all passed"
}

cmd_lint() { # formatting, vet, staticcheck and the other linters, shell scripts
  need "${DEPS_BUILD[@]}" "${DEPS_TEST[@]}"
  lint
}

cmd_unit() { # the unit tests alone
  need "${DEPS_BUILD[@]}"
  unit_tests
}

cmd_cli() { # the command-line tests alone, on what is in dist/; arguments go to the test
  make_images
  cli_tests "$@"
}

cmd_lab() { # run a command in a nested machine whose /dev/kvm works: ./build.sh lab [-user NAME] 'CMD'
  need "${DEPS_BUILD[@]}" "${DEPS_LAB[@]}"
  [[ -e $KRUN_PARTS/kernel.elf ]] || krun_parts
  lab "$@"
}

cmd_testkrun() { # all that runs on virtual machines, in the lab (after build), as root and as nobody; an hour and a half
  need "${DEPS_BUILD[@]}" "${DEPS_IMAGES[@]}" "${DEPS_LAB[@]}"
  make_images
  LAB_LONG=1 LAB_LIMIT=40 LAB_FAILED=1 krun_tests all
}

cmd_benchkrun() { # measure the krun engine alone, in the lab (a part of bench): ./build.sh benchkrun [ROUNDS]
  need "${DEPS_BUILD[@]}" "${DEPS_IMAGES[@]}" "${DEPS_LAB[@]}" "${DEPS_BENCH[@]}"
  cmd_build
  make_images
  krun_bench "$@"
}

cmd_fuzz() { # every fuzz target for a time: ./build.sh fuzz [10m]
  need_build
  fuzz "${1:-10m}"
}

cmd_faults() { # kill and fail our commands at points of chance, print what was lost, and put it into test/FAULTS.md: ./build.sh faults [ROUNDS]
  need "${DEPS_BUILD[@]}" "${DEPS_IMAGES[@]}" "${DEPS_TEST[@]}"
  cmd_build
  make_images
  SMOLVM_FAULTS=${1:-5} SMOLVM_FAULTS_TABLE=$TOP/build/faults.md SMOLVM_LONG=1 cli_tests -timeout 120m -v -run '^(TestFaults|TestParallelFirstRuns|TestParallelStarts|TestStartStopExecInAnyOrder|TestNamedInAnyOrder|TestKillsInAnyOrder)$'
  sed '/^<!-- measured/q' test/FAULTS.md >build/FAULTS.md
  cat build/faults.md >>build/FAULTS.md
  mv build/FAULTS.md test/FAULTS.md
}

cmd_soak() { # use ten machines at random for a time, and print whether what they take grows: ./build.sh soak [1h]
  need "${DEPS_BUILD[@]}" "${DEPS_IMAGES[@]}" "${DEPS_TEST[@]}"
  cmd_build
  make_images
  SMOLVM_SOAK=${1:-1h} SMOLVM_SOAK_TABLE=$TOP/build/soak.md cli_tests -timeout 120m -v -run '^TestSoak$'
}

cmd_bench() { # measure, print the tables, and put them into BENCHMARKS.md; with arguments, which go to ./bench, only print: ./build.sh bench [-only exec]
  need "${DEPS_BUILD[@]}" "${DEPS_IMAGES[@]}" "${DEPS_BENCH[@]}" "${DEPS_LAB[@]}"
  cmd_build
  cmd/sentry/build.sh "$BIN/frontdoor" frontdoor # what runs the sentry without us
  make_images
  make_bench_images
  if (($#)); then
    go run ./bench -dist "$DIST" -bin "$BIN" -images "$IMAGES" "$@"
    return
  fi
  go run ./bench -dist "$DIST" -bin "$BIN" -images "$IMAGES" | tee build/bench.md
  krun_bench | tee -a build/bench.md
  sed '/^<!-- measured/q' BENCHMARKS.md >build/BENCHMARKS.md
  cat build/bench.md >>build/BENCHMARKS.md
  mv build/BENCHMARKS.md BENCHMARKS.md
}

cmd_notices() { # write THIRD_PARTY.txt anew from what the parts link
  need_build
  go run ./tools/notices -o THIRD_PARTY.txt cmd cmd/sentry
}

cmd_clean() { # remove dist/ and build/, the made images included
  rm -rf "$DIST" "$TOP/build"
}

cmd_help() { # list the verbs
  echo "Usage: ./build.sh VERB"
  echo
  sed -nE 's/^cmd_([a-z]+)\(\) \{ # (.*)/  \1\t\2/p' build.sh | expand -t 12
}

outside
verb=${1:-help}
shift || true
declare -F "cmd_$verb" >/dev/null || { cmd_help >&2; die "there is no verb $verb"; }
"cmd_$verb" "$@"
