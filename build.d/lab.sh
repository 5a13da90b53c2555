# shellcheck shell=bash
# The lab: a nested machine whose /dev/kvm works (tools/lab), and everything
# that is proven and measured in it.

# lab_build: the nested machine's own executable.
lab_build() { go build -o "$KRUN/lab" ./tools/lab; }

# lab [FLAG...] COMMAND: one word is a command line for the shell.
lab() {
  lab_build
  local flags=()
  while [[ ${1:-} == -* ]]; do
    flags+=("$1" "$2")
    shift 2
  done
  (($# != 1)) || set -- sh -c "$1"
  nice -n 5 "$KRUN/lab" -kernel "$KRUN_PARTS/kernel.elf" "${flags[@]}" "$@"
}

# lab_stage: makes a directory that everybody in the lab may read, with all that
# its tests take from the host, and prints its path. The work tree may lie
# where only root can look.
lab_stage() {
  local stage pkg name
  lab_build
  stage=$(mktemp -d "${TMPDIR:-/tmp}/smolvm-lab.XXXXXX")
  mkdir "$stage/parts" "$stage/packs" "$stage/images" "$stage/test"
  cp "$KRUN_PARTS"/{libkrun.so.1,kernel.elf,libc.tar} "$BIN/agent" "$BIN/vmm" "$stage/parts/"
  for pkg in test/lab runtime/krun runtime/krun/kvm; do
    go test -tags lab -c -o "$stage/$(printf '%s' "$pkg" | tr / -)" "./$pkg"
  done
  go test -c -o "$stage/test/cli" ./test
  cp -r test/script "$stage/test/"
  cp "$DIST/smolvm" "$DIST/parts.smolmachine" "$stage/"
  for name in "${LAB_IMAGES[@]}"; do
    cp -r "$IMAGES/$name" "$stage/images/"
    XDG_CACHE_HOME=$stage/cache "$DIST/smolvm" pack "oci:$IMAGES/$name" -o "$stage/packs/$name" >&2
  done
  rm -rf "$stage/cache"
  (cd test/lab && LAB_PREPARE=1 SMOLVM_KRUN_PARTS=$stage/parts "$stage/test-lab" -test.run TestMakeImage >&2)
  chmod -R a+rX "$stage"
  echo "$stage"
}

LAB_IMAGES=(busybox configured static python)

# What of the command line's tests runs on virtual machines, too.
LAB_CLI=(
  TestScripts/^{run_R1_,run_R6,run_R5,run_R7,run_R8,run_R9,run_R10,run_R11,run_R12_cache,pack_P14,pack_P3,port_N1}
  TestScripts/^{daemon_D1,daemon_D3,daemon_D7,daemon_D8,microvm_D1,pack_D3,cp_S4}
  TestEndedClientLeavesNothing TestKilledDaemon TestRunsAreApart TestStaleState TestConcurrentExecs TestExecWithInput
  TestKilledExecClient TestPublishedPorts TestNetwork TestJudges TestStdinEnds TestClosedReader TestStreamsAreSeparateAndClean
  TestTerminal TestTerminalOfExec TestTerminalWithPipedInput
)

# lab_short: what `test` runs, as lines "EXECUTABLE TESTS USER": the engine from
# end to end and what keeps its machines apart.
lab_short() {
  cat <<'END'
runtime-krun-kvm ^TestProbe root
runtime-krun ^TestBoot$ root
runtime-krun ^TestVolumesAgainstRoot$ root
test-lab ^TestGuest$ root
test-lab ^TestVolumes$ nobody
test-lab ^TestVolumeOwners$ nobody
test-lab ^TestStreams$ root
test-lab ^TestGuestOutOfMemory$ nobody
test-lab ^TestHostDiskFull$ nobody
test-lab ^TestKilledWhileWriting$ nobody
test-lab ^TestStorageSizes$ root
test-lab ^TestConformance$/^R6:volumes$ root
test-lab ^TestConformance$/^R8:too_much_memory$ root
test-lab ^TestConformance$/^N1:network$ nobody
test-lab ^TestConformance$/^S5:no_network$ root
test-lab ^TestConformance$/^D4:kill_-9_of_each_process$ nobody
test-lab ^TestConformance$/^D9:containers$ nobody
test/cli ^TestScripts/^daemon_D1 nobody
END
}

# lab_names FILE...: the tests that are written in these files.
lab_names() { sed -n 's/^func \(Test[A-Za-z0-9]*\)(t \*testing.T) {$/\1/p' "$@" | grep -vxE 'Test(Conformance|Bench|MakeImage)'; }

# lab_cases: the engine suite's, as go test names them.
lab_cases() { sed -n 's/^\t\t{"\([^"]*\)", s\.[A-Za-z]*},$/\1/p' runtime/enginetest/enginetest.go | tr '/ ' ':_'; }

# lab_all: lines as of lab_short for every test there is, with root and with
# nobody; those of packages that set a host up for themselves only with root.
lab_all() {
  local t
  echo 'runtime-krun-kvm ^TestProbe root'
  lab_names runtime/krun/lab_test.go | sed 's/.*/runtime-krun ^&$ root/'
  {
    lab_names test/lab/*_test.go | sed 's/.*/test-lab ^&$/'
    lab_cases | sed 's/.*/test-lab ^TestConformance$\/^&$/'
    for t in "${LAB_CLI[@]}"; do echo "test/cli ^$t"; done
  } | sed 'h; s/$/ root/p; g; s/$/ nobody/'
}

# krun_tests short|all: tests that need KVM, each in a nested machine of its own,
# where it takes least because every further boot is slower; two at a time.
krun_tests() {
  local stage status=0
  say "test: virtual machines, in the lab"
  stage=$(lab_stage)
  "lab_$1" | xargs -n3 -P2 build.d/labtest "$KRUN/lab" "$stage" || status=$?
  rm -rf "$stage"
  return "$status"
}

# krun_bench [ROUNDS]: the krun engine beside libkrun alone, in one nested machine.
# Boots differ so much there that fewer rounds say little.
krun_bench() {
  local stage status=0
  stage=$(lab_stage)
  crun_build
  cp "$KRUN_PARTS/crun" "$stage/parts/"
  gcc -O2 -Wall -o "$stage/parts/bare" bench/krun/bare.c
  go build -ldflags '-s -w' -o "$stage/parts/exits" bench/krun/exits.go
  printf '\nVirtual machines, in the lab: emulated twice, so only the ratios mean something.\n\n'
  echo "| measure | beside | ours | theirs | ratio | goal |"
  echo "|---|---|---|---|---|---|"
  SMOLVM_KRUN_PARTS=$stage/parts LAB_BENCH=${1:-16} LAB_APP=$stage/packs/busybox \
    "$KRUN/lab" -kernel "$stage/parts/kernel.elf" -mem 3072 -timeout 30m \
    "$stage/test-lab" -test.timeout 29m -test.run '^TestBench$' | grep '^|' || status=$?
  rm -rf "$stage"
  return "$status"
}
