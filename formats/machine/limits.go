package machine

import (
	"fmt"
	"strconv"
	"strings"
)

// The limits of what may be asked for, whatever the host has. The lower one of
// memory is what the smallest guest needs to start; the upper ones only catch
// mistakes.
const (
	MaxCPUs       = 512
	MinMemoryMiB  = 32
	MaxMemoryMiB  = 16 << 20 // 16 TiB
	MinStorageMiB = 16
	MaxStorageMiB = 64 << 20 // 64 TiB
)

// ParseMiB reads a size like 512M, 2G, 2GiB or 1.5G. As with other tools for
// virtual machines a number without a unit counts MiB.
func ParseMiB(s string) (int64, error) {
	number := strings.TrimRight(s, "BbIiKkMmGgTt")
	var unit float64
	switch strings.ToLower(strings.TrimPrefix(s, number)) {
	case "k", "kb", "kib":
		unit = 1.0 / 1024
	case "", "m", "mb", "mib":
		unit = 1
	case "g", "gb", "gib":
		unit = 1 << 10
	case "t", "tb", "tib":
		unit = 1 << 20
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || unit == 0 || n != n || strings.ContainsAny(number, "eExXpP_+nN") {
		return 0, fmt.Errorf("%q is not a size like 512M or 2G", s)
	}
	if n*unit > 1<<40 || n < 0 {
		return 0, fmt.Errorf("%s is out of range", s)
	}
	return int64(n * unit), nil
}

// CheckCPUs says whether a number of CPUs can be asked for.
func CheckCPUs(n int) error {
	if n < 1 || n > MaxCPUs {
		return fmt.Errorf("%d CPUs are out of range: 1 to %d", n, MaxCPUs)
	}
	return nil
}

// ParseMemory reads and checks the value of a --mem flag.
func ParseMemory(s string) (int64, error) {
	return parseWithin("memory", s, MinMemoryMiB, MaxMemoryMiB)
}

// ParseStorage reads and checks the value of a --storage flag.
func ParseStorage(s string) (int64, error) {
	return parseWithin("storage", s, MinStorageMiB, MaxStorageMiB)
}

func parseWithin(what, s string, low, high int64) (int64, error) {
	mib, err := ParseMiB(s)
	if err != nil {
		return 0, fmt.Errorf("%s: %w; %dM to %dG are possible", what, err, low, high>>10)
	}
	if mib < low || mib > high {
		return 0, fmt.Errorf("%s of %s is out of range: %dM to %dG", what, s, low, high>>10)
	}
	return mib, nil
}
