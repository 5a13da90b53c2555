// Package cases holds that every behaviour we promise has a test: the list in
// cases.txt, and test/CASES.md, which says what proves each.
package cases

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// index is the generated file.
const index = "../CASES.md"

// list reads cases.txt.
func list(t *testing.T) (names []string, meaning map[string]string) {
	t.Helper()
	text, err := os.ReadFile("cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	meaning = map[string]string{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		c, what, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || name.FindString(c) != c || meaning[c] != "" {
			t.Fatalf("cases.txt: %q is not a new case and what it means", line)
		}
		names, meaning[c] = append(names, c), what
	}
	return names, meaning
}

// A case without a test is a promise that nobody keeps; a test that names an
// unknown case has lost what it was for.
func TestEveryCaseHasATest(t *testing.T) {
	names, meaning := list(t)
	tests := collect(t)
	for _, c := range names {
		if len(tests[c]) == 0 {
			t.Errorf("no test names %s: %s", c, meaning[c])
		}
	}
	for c, by := range tests {
		if meaning[c] == "" {
			t.Errorf("%v name the case %s, which is not in test/cases/cases.txt", slices.Sorted(maps.Keys(by)), c)
		}
	}
}

// The index names no test that is gone, and has one for every case. It may lack
// the newest ones: whoever adds a test is not made to write it anew.
func TestIndex(t *testing.T) {
	names, meaning := list(t)
	tests := collect(t)
	if os.Getenv("SMOLVM_UPDATE") != "" {
		if err := os.WriteFile(index, write(names, meaning, tests), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	current, listed := "", map[string]int{}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "**"); ok {
			current, _, _ = strings.Cut(rest, "**")
		} else if rest, ok := strings.CutPrefix(line, "- `"); ok {
			test, _, _ := strings.Cut(rest, "`")
			listed[current]++
			if !tests[current][test] {
				t.Errorf("test/CASES.md says that %s proves %s, which does not; %s", test, current, howTo)
			}
		}
	}
	for _, c := range names {
		if listed[c] == 0 {
			t.Errorf("test/CASES.md has no test for %s; %s", c, howTo)
		}
	}
}

// security is the page whose promises point at tests.
const security = "../../SECURITY.md"

// Every test that SECURITY.md names is there.
func TestSecurityNamesTests(t *testing.T) {
	text, err := os.ReadFile(security)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, by := range collect(t) {
		for test := range by {
			known[test[strings.LastIndexAny(test, " /")+1:]] = true
		}
	}
	named := regexp.MustCompile(`\b(Test[A-Z]\w+|(?:run|sign|daemon|pack)_[A-Z]\d+\w*)\b`).FindAllString(string(text), -1)
	if len(named) < 20 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, test := range named {
		if !known[test] && !known[test+".txtar"] {
			t.Errorf("SECURITY.md names %s, which is no test of a case", test)
		}
	}
}

const howTo = "write it anew: SMOLVM_UPDATE=1 go test ./test/cases"

// write is the text of the index.
func write(names []string, meaning map[string]string, tests found) []byte {
	var b bytes.Buffer
	b.WriteString("# What is promised, and the tests that prove it\n\n")
	b.WriteString("Made from `test/cases/cases.txt` and the tests by `SMOLVM_UPDATE=1 go test ./test/cases`. Without that variable the\n")
	b.WriteString("same test fails if a case has no test, a test names an unknown case, or this page names a test that is gone.\n")
	for _, c := range names {
		fmt.Fprintf(&b, "\n**%s** %s\n", c, meaning[c])
		for _, test := range slices.Sorted(maps.Keys(tests[c])) {
			fmt.Fprintf(&b, "- `%s`\n", test)
		}
	}
	return b.Bytes()
}
