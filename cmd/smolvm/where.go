package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// partsPath is where the parts file is: where SMOLVM_PARTS says, else beside
// smolvm's own real executable.
func partsPath() (string, error) {
	if p := os.Getenv("SMOLVM_PARTS"); p != "" {
		return p, nil
	}
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return "", fmt.Errorf("finding the parts file beside smolvm (set SMOLVM_PARTS to its path): %w", err)
	}
	return filepath.Join(filepath.Dir(exe), "parts.smolmachine"), nil
}

// humanSize is a number of bytes for people.
func humanSize(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
