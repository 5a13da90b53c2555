package terminal

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Input is standard input for a command. Reading a terminal from the
// background would stop us, and with us the command's output; instead it waits
// until somebody brings us to the foreground.
func Input(f *os.File) io.Reader {
	if !Is(f) {
		return f
	}
	signal.Ignore(syscall.SIGTTIN)
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	return &input{f, continued}
}

type input struct {
	file      *os.File
	continued <-chan os.Signal
}

func (i *input) Read(p []byte) (int, error) {
	for {
		n, err := i.file.Read(p)
		if n > 0 || !errors.Is(err, syscall.EIO) || Foreground(i.file) {
			return n, err
		}
		<-i.continued
	}
}
