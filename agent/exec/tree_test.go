package exec

import "testing"

func TestRelated(t *testing.T) {
	family := map[int]bool{10: true, 20: true}
	for stat, want := range map[string]bool{
		"30 (sh) S 10 30 30 0":          true,  // child
		"30 (sh) S 1 20 30 0":           true,  // same group
		"30 (sh) S 1 30 10 0":           true,  // same session
		"30 (sh) S 1 30 30 0":           false, // on its own
		"10 (sh) S 1 1 1 0":             false, // only its own number is in it
		"30 (a) S 10 10 10 (b) S 1 1 1": false, // a name that imitates the fields
		"30 (10 10 10) S 1 2 3 10":      false,
		"30 (\n) 10) S 1 2 3":           false,
		"30 (sh":                        false,
		"":                              false,
	} {
		if got := related(stat, family); got != want {
			t.Errorf("%q: %v", stat, got)
		}
	}
}

func FuzzRelated(f *testing.F) { // a command chooses its name
	f.Add("30 (sh) S 10 30 30 0")
	f.Add("30 (a) b) S 1 2 3")
	f.Fuzz(func(t *testing.T, stat string) {
		if related(stat, map[int]bool{}) {
			t.Error("related to nobody")
		}
	})
}
