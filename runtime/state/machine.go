package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
)

// The files of a machine's directory.
const (
	recordFile  = "machine.json"
	startLock   = "start.lock"
	aliveLock   = "alive.lock"
	controlSock = "control.sock"
	logFile     = "machine.log"
	oldLogFile  = "machine.log.1"
)

// Machine is the directory of one machine, held open.
type Machine struct {
	id  string
	dir *os.File
}

// FromFile is the machine directory that an inherited descriptor refers to.
// The Machine owns dir.
func FromFile(id string, dir *os.File) *Machine { return &Machine{id: id, dir: dir} }

// ID names the machine.
func (m *Machine) ID() string { return m.id }

// File is the open directory, for a child process to inherit. The Machine
// keeps owning it.
func (m *Machine) File() *os.File { return m.dir }

// Close gives up the directory. Locks taken from it stay.
func (m *Machine) Close() error { return m.dir.Close() }

// Record is what is written down about a machine: what it was started with and
// how far it got. While the alive lock is held, its holder writes it.
type Record struct {
	SchemaVersion int            `json:"schemaVersion"`
	Config        machine.Config `json:"config"`
	// Process is the supervisor.
	Process   Process   `json:"process"`
	StartedAt time.Time `json:"startedAt"`
	Engine    string    `json:"engine"`
	// Ended says why the machine ended, when its supervisor lived to tell.
	Ended string `json:"ended,omitempty"`
	// MainStatus is what the machine's main process ended with, if it had one.
	MainStatus *int `json:"mainStatus,omitempty"`
}

// maxRecord bounds what is read back, in bytes: far more than any machine's
// arguments and environment.
const maxRecord = 16 << 20

// ReadRecord reads the record. The error is os.ErrNotExist when there is none.
func (m *Machine) ReadRecord() (*Record, error) {
	f, err := m.open(recordFile, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return nil, fmt.Errorf("read the machine's record: %w", err)
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("read the machine's record %s: %w", f.Name(), err)
	}
	if r.SchemaVersion > machine.SchemaVersion {
		return nil, fmt.Errorf("machine %s was started by a newer smolvm (state version %d); use that one", m.id, r.SchemaVersion)
	}
	return &r, nil
}

// WriteRecord replaces the record, whole or not at all. The caller holds the
// alive lock.
func (m *Machine) WriteRecord(r *Record) error {
	r.SchemaVersion = machine.SchemaVersion
	if err := m.writeJSON(recordFile, r); err != nil {
		return fmt.Errorf("write the machine's record: %w", err)
	}
	return nil
}

// writeJSON replaces a file of the directory, whole or not at all.
func (m *Machine) writeJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	temp := name + ".new"
	f, err := m.open(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = unix.Renameat(int(m.dir.Fd()), temp, int(m.dir.Fd()), name)
	}
	if err == nil {
		err = m.dir.Sync()
	}
	return err
}

// Clear removes what an earlier supervisor left behind. The caller holds the
// alive lock, so nobody uses it. The log and the locks stay.
func (m *Machine) Clear() error {
	for _, name := range []string{controlSock, recordFile, recordFile + ".new"} {
		if err := unix.Unlinkat(int(m.dir.Fd()), name, 0); err != nil && err != unix.ENOENT {
			return &os.PathError{Op: "remove", Path: m.join(name), Err: err}
		}
	}
	return nil
}

// open opens a file of the directory, private and never through a link.
func (m *Machine) open(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(m.dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: m.join(name), Err: err}
	}
	return os.NewFile(uintptr(fd), m.join(name)), nil
}

func (m *Machine) join(name string) string { return m.dir.Name() + "/" + name }
