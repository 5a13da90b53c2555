package wire

// A Containers request changes at most one container, and is answered with all
// that have been started since the machine was.
type Containers struct {
	Start  *ContainerStart  `json:"start,omitempty"`
	Stop   *ContainerStop   `json:"stop,omitempty"`
	Signal *ContainerSignal `json:"signal,omitempty"`
}

// ContainerStart starts a container; the answer comes when its main process
// runs.
type ContainerStart struct {
	ID       string `json:"id"`
	Hostname string `json:"hostname"`
	// Image is the digest of its root file system, which must be one of the
	// machine's images.
	Image string `json:"image"`
	// Exec is the main process. The container ends with it.
	Exec Exec `json:"exec"`
}

// ContainerStop sends the main process a signal and ends the container, if that
// has not, after the grace.
type ContainerStop struct {
	ID          string `json:"id"`
	Signal      Signal `json:"signal"`
	GraceMillis int64  `json:"graceMillis"`
}

// ContainerSignal sends the main process a signal.
type ContainerSignal struct {
	ID     string `json:"id"`
	Signal Signal `json:"signal"`
}

// Container is one that was started, in its supervisor's words.
type Container struct {
	ID        string `json:"id"`
	StartedAt string `json:"startedAt"`
	// Running is false once the main process has ended, with Status.
	Running bool `json:"running"`
	Status  int  `json:"status"`
}

// containerID is how many hex digits name a container.
const containerID = 12

func checkContainerID(id string) error {
	ok := len(id) == containerID
	for _, c := range []byte(id) {
		ok = ok && (c >= '0' && c <= '9' || c >= 'a' && c <= 'f')
	}
	if !ok {
		return badRequest("%q is not the id of a container", id)
	}
	return nil
}

// checkContainer says whether the request can be for a container, if it is.
func (h *Header) checkContainer() error {
	if h.Container == "" {
		return nil
	}
	switch h.Op {
	case OpBoot, OpExec, OpCopy, OpShutdown:
		return checkContainerID(h.Container)
	}
	return badRequest("operation %q is not for containers", h.Op)
}

func (c *Containers) check() error {
	if count(c.Start != nil)+count(c.Stop != nil)+count(c.Signal != nil) > 1 {
		return badRequest("a request changes one container at a time")
	}
	switch {
	case c.Start != nil:
		if err := checkContainerID(c.Start.ID); err != nil {
			return err
		}
		return c.Start.Exec.check()
	case c.Stop != nil:
		if err := checkMillis("graceMillis", c.Stop.GraceMillis); err != nil {
			return err
		}
		return checkContainerID(c.Stop.ID)
	case c.Signal != nil:
		return checkContainerID(c.Signal.ID)
	}
	return nil
}
