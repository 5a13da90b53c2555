package main

import (
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	s := sample{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.9: 5, 1: 5} {
		if got := s.quantile(q); got != want {
			t.Errorf("quantile(%v) = %v, want %v", q, got, want)
		}
	}
}

// The samples stay apart although the two take turns at going first.
func TestPairs(t *testing.T) {
	slow := func() error { <-time.After(2 * time.Millisecond); return nil }
	fast := func() error { return nil }
	a, b, err := pairs(6, slow, fast)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a {
		if a[i] < 0.002 || b[i] >= a[i] {
			t.Errorf("pair %d: %v beside %v", i, a[i], b[i])
		}
	}
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		goal float64
		want string
	}{{2.1, "| ≤ 2.1 | met |"}, {1.9, "| ≤ 1.9 | missed |"}, {0, "|  |  |"}} {
		got := compare("x", "y", sample{2, 4}, sample{1, 2}, c.goal).markdown()
		if !strings.Contains(got, c.want) || !strings.Contains(got, "2.00 (2.00–2.00)") {
			t.Errorf("goal %v: %s", c.goal, got)
		}
	}
}
