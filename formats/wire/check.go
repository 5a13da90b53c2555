package wire

import (
	"path"
	"strings"
	"unicode/utf8"
)

// maxMillis keeps every duration of the protocol within a time.Duration.
const maxMillis = int64(1) << 43

// check says whether h is a request of this generation that makes sense on its
// own. The error is of type *Error.
func (h *Header) check() error {
	if h.Generation < 1 {
		return badRequest("request header without a protocol generation")
	}
	member, ok := map[Op]bool{
		OpBoot:     h.Boot != nil,
		OpExec:     h.Exec != nil,
		OpShutdown: h.Shutdown != nil,
		OpStop:     h.Stop != nil,
		OpDial:     h.Dial != nil,
		OpCopy:     h.Copy != nil,
		OpPublish:  h.Publish != nil,

		OpContainers: h.Containers != nil,
		OpPing:       true,
		OpStatus:     true,
		OpNotices:    true,
	}[h.Op]
	if !ok {
		return badRequest("unknown operation %q", h.Op)
	}
	if want := h.Op != OpPing && h.Op != OpStatus && h.Op != OpNotices; !member || h.members() != count(want) {
		return badRequest("the header of operation %q must have the member of that name and no other", h.Op)
	}
	if err := h.checkContainer(); err != nil {
		return err
	}
	switch h.Op {
	case OpBoot:
		return h.Boot.check()
	case OpExec:
		return h.Exec.check()
	case OpShutdown:
		return checkMillis("graceMillis", h.Shutdown.GraceMillis)
	case OpStop:
		return checkMillis("graceMillis", h.Stop.GraceMillis)
	case OpDial:
		return h.Dial.check()
	case OpCopy:
		return h.Copy.check()
	case OpPublish:
		return h.Publish.check()
	case OpContainers:
		return h.Containers.check()
	}
	return nil
}

func (h *Header) members() int {
	return count(h.Boot != nil) + count(h.Exec != nil) + count(h.Shutdown != nil) + count(h.Stop != nil) +
		count(h.Dial != nil) + count(h.Copy != nil) + count(h.Publish != nil) + count(h.Containers != nil)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (e *Exec) check() error {
	if len(e.Argv) == 0 {
		return badRequest("no command: argv is empty")
	}
	for _, list := range [][]string{e.Argv, e.Env, {e.WorkingDir, e.User}} {
		for _, s := range list {
			if strings.ContainsRune(s, 0) {
				return badRequest("arguments, environment, working directory and user must not contain NUL bytes")
			}
		}
	}
	if !utf8.ValidString(e.WorkingDir) || !utf8.ValidString(e.User) {
		return badRequest("working directory and user must be valid UTF-8")
	}
	return checkMillis("timeoutMillis", e.TimeoutMillis)
}

func (b *Boot) check() error {
	if b.Upper.SizeMiB < 0 || b.Upper.SizeMiB > 1<<40 {
		return badRequest("upper size of %d MiB is out of range", b.Upper.SizeMiB)
	}
	if b.Upper.Dir != "" {
		if err := checkContainerID(b.Upper.Dir); err != nil {
			return err
		}
	}
	for _, v := range b.Volumes {
		if !path.IsAbs(v.Target) || strings.ContainsRune(v.Target, 0) {
			return badRequest("volume target %q is not an absolute path", v.Target)
		}
	}
	if i := b.Interface; i != nil {
		if err := i.check(); err != nil {
			return err
		}
	}
	for _, h := range b.Hosts {
		for _, word := range append([]string{h.Address}, h.Names...) {
			if word == "" || strings.ContainsAny(word, " \t\r\n\x00#") {
				return badRequest("%q cannot stand in /etc/hosts", word)
			}
		}
	}
	for _, s := range append([]string{b.Hostname}, b.Nameservers...) {
		if strings.ContainsAny(s, " \t\r\n\x00") {
			return badRequest("%q is no host name or address", s)
		}
	}
	return nil
}

// The bounds of an MTU: what IPv4 demands (RFC 791), and what its packets hold.
const (
	minMTU = 68
	maxMTU = 1<<16 - 1
)

func (i *Interface) check() error {
	const maxName = 15 // of Linux
	if i.Name == "" || len(i.Name) > maxName || strings.ContainsAny(i.Name, "/ \t\r\n\x00") {
		return badRequest("%q is no interface", i.Name)
	}
	if !i.Address.IsValid() || !i.Address.Addr().Is4() || !i.Gateway.Is4() {
		return badRequest("an interface needs an IPv4 address with its prefix, and a gateway")
	}
	if i.MTU < minMTU || i.MTU > maxMTU {
		return badRequest("an MTU of %d is out of range", i.MTU)
	}
	return nil
}

func checkMillis(name string, ms int64) error {
	if ms < 0 || ms > maxMillis {
		return badRequest("%s of %d is out of range", name, ms)
	}
	return nil
}
