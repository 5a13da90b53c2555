package machine

import (
	"strings"
	"testing"
)

// R8
func TestParseMemory(t *testing.T) {
	for s, want := range map[string]int64{
		"512": 512, "512M": 512, "512m": 512, "512MiB": 512, "512mb": 512, "2G": 2048, "1.5g": 1536, "1t": 1 << 20, "65536k": 64,
		"0": -1, "-1": -1, "": -1, "M": -1, "lots": -1, "1k": -1, "999999G": -1, "1e3M": -1, "NaN": -1, "Inf": -1, "0x10": -1,
		"5 M": -1, "512MM": -1, "1_000M": -1, "+512M": -1, "31M": -1, "32M": 32,
	} {
		got, err := ParseMemory(s)
		if want < 0 {
			if err == nil || !strings.Contains(err.Error(), "32M to 16384G") && !strings.Contains(err.Error(), "are possible") {
				t.Errorf("ParseMemory(%q) = %d, %v; want an error that names the limits", s, got, err)
			}
		} else if err != nil || got != want {
			t.Errorf("ParseMemory(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
}

func TestCheckCPUs(t *testing.T) {
	for n, ok := range map[int]bool{0: false, -1: false, 1: true, 512: true, 513: false} {
		if err := CheckCPUs(n); (err == nil) != ok {
			t.Errorf("CheckCPUs(%d) = %v", n, err)
		}
	}
}
