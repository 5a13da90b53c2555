package partsfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// compress returns contents as one zstd frame, made by the zstd command: its
// highest levels make an eighth less of executables than the library's, and
// their slowness is paid once, here. zstd, which reads a pipe, is told the size,
// so that the frame says it and takes no more memory to decode.
func compress(ctx context.Context, contents []byte) ([]byte, error) {
	return runZstd(ctx, contents, compressing(len(contents))...)
}

// compressing are zstd's arguments for a frame of size bytes.
func compressing(size int) []string {
	return []string{"--stdout", "--no-check", "--single-thread", fmt.Sprintf("-%d", level), fmt.Sprintf("--stream-size=%d", size)}
}

// runZstd returns what the command with args makes of input.
func runZstd(ctx context.Context, input []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "zstd", append([]string{"--quiet"}, args...)...)
	var output, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &output, &said
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("the command zstd is missing; install Debian's package zstd")
	}
	if err != nil {
		return nil, fmt.Errorf("zstd: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return output.Bytes(), nil
}
