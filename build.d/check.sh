# shellcheck shell=bash
# Linters and tests. Every function fails when anything in it fails.

# tool PACKAGE: builds a developer's tool at the version .ci/tools pins and
# prints its path.
tool() {
  local out=$TOOLS/${1##*/}
  mkdir -p "$TOOLS"
  (cd .ci/tools && go build -o "$out" "$1")
  echo "$out"
}

LINTER=github.com/golangci/golangci-lint/v2/cmd/golangci-lint

lint() {
  local unformatted scripts linter
  say "lint: gofmt"
  unformatted=$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 gofmt -l)
  [[ -z $unformatted ]] || die "gofmt would change: $unformatted"
  say "lint: shellcheck"
  mapfile -t scripts < <(git ls-files '*.sh' .ci/run ':!build.d')
  shellcheck --external-sources --check-sourced "${scripts[@]}"
  say "lint: golangci-lint, with go vet and staticcheck in it (its first build takes some minutes)"
  linter=$(tool "$LINTER")
  GOGC=400 "$linter" run ./... # rather memory than a quarter of its time
  say "lint: the product also compiles for arm64"
  GOARCH=arm64 go build -o /dev/null ./...
}

# unit_tests runs every package but the command-line suite; those where
# goroutines share memory with the race detector, which makes packing ten times
# slower and finds nothing there, and links a C library, with which the network
# process cannot give its privileges up. That detector waits a second at the end
# of every process, and tests start hundreds; a twentieth is enough to tell what
# it has found. Three packages at a time, because they wait for processes a lot,
# and those first that take longest; always run, though Go may know another
# clone's results. go vet was lint's.
unit_tests() {
  say "test: unit tests"
  local racing packages
  mapfile -t racing < <(go list ./sidecar ./runtime/supervisor ./runtime/gvisor ./agent/... ./formats/... ./runtime/... ./sidecar/... | grep -v '/network/outside$')
  CGO_ENABLED=1 GORACE=atexit_sleep_ms=50 go test -count=1 -p 3 -vet=off -race -timeout 20m "${racing[@]}"
  mapfile -t packages < <(go list ./... | grep -vxFf <(printf '%s\n' "${racing[@]}") | grep -v '/test$')
  go test -count=1 -p 3 -vet=off -timeout 20m "${packages[@]}"
}

# fuzz_targets: lines "PACKAGE TARGET".
fuzz_targets() { grep -ro --include='*_test.go' --exclude-dir=build '^func Fuzz[A-Za-z0-9_]*' . | sed 's|/[^/]*:func | |' | sort; }

# fuzz TIME: every fuzz target for TIME, or for COUNTx executions, two at a
# time. Checks use a count: at the end of a time Go sometimes reports its own
# "context deadline exceeded" as a failure of the target. A run for a time keeps
# what it found.
fuzz() {
  local package target
  say "fuzz: $1 each"
  fuzz_targets | sed 's/\(.*\) \(.*\)/-fuzz ^\2$ \1/' |
    xargs -P2 -L1 go test -vet=off -run '^$' -parallel 1 -fuzzminimizetime 1x -fuzztime "$1"
  [[ $1 == *x ]] || fuzz_targets | while read -r package target; do keep_seeds "$package" "$target"; done
}

# keep_seeds PACKAGE TARGET: the shortest inputs that reached something new go
# into the package's testdata, where go test finds them.
keep_seeds() {
  local found kept=$1/testdata/fuzz/$2 input
  found=$(go env GOCACHE)/fuzz/$(go list "$1")/$2
  [[ -d $found ]] || return 0
  mkdir -p "$kept"
  find "$found" -type f -size -3 -printf '%s %p\n' | sort -n | sed -n 1,12p | while read -r _ input; do
    cp -n "$input" "$kept/"
  done
}

# cli_tests runs test/*/*.txtar against dist/, as this user and, when that is
# root, beside it as an unprivileged one. Of four parallel tests at a time one is
# that other run, and most wait for something.
cli_tests() {
  say "test: the command line"
  SMOLVM_DIST=$DIST SMOLVM_IMAGES=$IMAGES go test -count=1 -parallel 4 -timeout 30m ./test "$@"
}
