package main

import (
	"os"
	"testing"
)

// The committed notices are what the go.mod files of today ask for.
func TestNoticesAreCurrent(t *testing.T) {
	want, err := generate("../../build.d/krun.pins", []string{"../../cmd", "../../cmd/sentry"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../THIRD_PARTY.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("THIRD_PARTY.txt is out of date: run ./build.sh notices and commit it")
	}
}
