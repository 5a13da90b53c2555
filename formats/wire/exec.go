package wire

// Exec asks for one command. Argv is complete: the caller has applied the
// image's entrypoint.
type Exec struct {
	Argv []string `json:"argv"`
	// Env is the whole environment; the agent adds HOME from the user's entry
	// in /etc/passwd, PATH, HOSTNAME and (with a terminal) TERM where they are
	// missing.
	Env        []string `json:"env,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	User       string   `json:"user,omitempty"`
	// TTY gives the command a terminal of Size; stderr is part of stdout then.
	TTY  bool  `json:"tty,omitempty"`
	Size *Size `json:"size,omitempty"`
	// Stdin says that FrameStdin will follow; otherwise it is /dev/null.
	Stdin bool `json:"stdin,omitempty"`
	// Detach lets the command outlive the request: FrameStarted is the answer
	// and the last frame, unless the command could not start (FrameExit). Its
	// output is discarded.
	Detach bool `json:"detach,omitempty"`
	// Main makes it the machine's main process: as with Detach the answer is
	// that it started, but its output goes to the machine's log, and the machine
	// ends with it. A supervisor knows it, an agent does not.
	Main bool `json:"main,omitempty"`
	// TimeoutMillis ends the command and all its descendants; 0 is no limit.
	TimeoutMillis int64 `json:"timeoutMillis,omitempty"`
}

// Size is a terminal's, in character cells.
type Size struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// Signal is delivered to the command's process group. Numbers are Linux's.
type Signal struct {
	Number int `json:"number"`
}

// Started says that the command was executed; PID is the guest's.
type Started struct {
	PID int `json:"pid"`
}

// Room says that the command took, or will never take, so many more bytes of
// its standard input.
type Room struct {
	Bytes int64 `json:"bytes"`
}

// Exit is how a command ended. One of Code, Signal, TimedOut or Error tells.
type Exit struct {
	Code   int `json:"code"`
	Signal int `json:"signal,omitempty"`
	// TimedOut: the request's time limit ended it.
	TimedOut bool `json:"timedOut,omitempty"`
	// OOM: the guest's kernel ended it for want of memory.
	OOM   bool   `json:"oom,omitempty"`
	Error *Error `json:"error,omitempty"`
}
