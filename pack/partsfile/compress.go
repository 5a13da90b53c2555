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
	cmd := exec.CommandContext(ctx, "zstd", "--stdout", "--quiet", "--no-check", "--single-thread",
		fmt.Sprintf("-%d", level), fmt.Sprintf("--stream-size=%d", len(contents)))
	var frame, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(contents), &frame, &said
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("the command zstd is missing; install Debian's package zstd")
	}
	if err != nil {
		return nil, fmt.Errorf("zstd: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return frame.Bytes(), nil
}
