package confine

import (
	"cmp"
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// verdict runs the filter as the kernel would, on one call.
func verdict(t *testing.T, calls []Call, arch uint32, nr int, args ...uint64) uint32 {
	t.Helper()
	raw, err := Program(calls)
	if err != nil {
		t.Fatal(err)
	}
	program, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter has instructions that nobody knows")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	// This interpreter reads numbers in the order of networks.
	data := binary.BigEndian.AppendUint32(nil, uint32(nr))
	data = binary.BigEndian.AppendUint32(data, arch)
	data = append(data, make([]byte, 8)...)
	for i := range 6 {
		var v uint64
		if i < len(args) {
			v = args[i]
		}
		data = binary.BigEndian.AppendUint32(data, uint32(v))
		data = binary.BigEndian.AppendUint32(data, uint32(v>>32))
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}

func TestProgram(t *testing.T) {
	calls := append(Calls(1, 2),
		Call{Nr: 3, Where: []Arg{Is(0, 7)}},
		Call{Nr: 3, Where: []Arg{{1, 6, 2}, Is(2, 9)}},
		Call{Nr: 4, Errno: unix.ENOSYS},
		Call{Nr: 5})
	const yes, no = uint32(unix.SECCOMP_RET_ALLOW), everythingElse
	for _, c := range []struct {
		nr   int
		args []uint64
		want uint32
	}{
		{1, nil, yes}, {2, nil, yes}, {5, nil, yes}, {0, nil, no}, {6, nil, no},
		{3, nil, no}, {3, []uint64{7}, yes}, {3, []uint64{8}, no},
		{3, []uint64{0, 2, 9}, yes}, {3, []uint64{0, 0x1003, 9}, yes}, {3, []uint64{0, 4, 9}, no}, {3, []uint64{0, 2, 8}, no},
		{4, nil, unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{1 | x32Bit, nil, no}, {-1, nil, no},
	} {
		if got := verdict(t, calls, auditArch, c.nr, c.args...); got != c.want {
			t.Errorf("call %d%v: %#x, want %#x", c.nr, c.args, got, c.want)
		}
	}
	// The numbers of another architecture's calls mean something else.
	if got := verdict(t, calls, auditArch^1, 1); got != unix.SECCOMP_RET_KILL_PROCESS {
		t.Errorf("another architecture: %#x", got)
	}
}

// However many numbers there are, each finds its own verdict and its neighbours
// find theirs.
func TestProgramFindsEveryNumber(t *testing.T) {
	for _, n := range []int{0, 1, few, few + 1, 3*few + 1, 150} {
		var calls []Call
		met, unmet := make(map[int]uint32), make(map[int]uint32) // verdicts if all conditions are met, or none
		for i := range n {
			c := Call{Nr: 7 * (n - i), Where: []Arg{Is(0, 1), Is(1, 2)}[:i%3]} // in no order that helps
			calls = append(calls, c)
			met[c.Nr] = unix.SECCOMP_RET_ALLOW
			if len(c.Where) == 0 {
				unmet[c.Nr] = unix.SECCOMP_RET_ALLOW
			}
		}
		for nr := range 7*n + 2 {
			if got, want := verdict(t, calls, auditArch, nr, 1, 2), cmp.Or(met[nr], everythingElse); got != want {
				t.Errorf("call %d among %d: %#x, want %#x", nr, n, got, want)
			}
			if got, want := verdict(t, calls, auditArch, nr, 3, 4), cmp.Or(unmet[nr], everythingElse); got != want {
				t.Errorf("call %d among %d, with other arguments: %#x, want %#x", nr, n, got, want)
			}
		}
	}
}

// Of one number's calls the first one whose conditions are met counts, wherever in
// the list they stand.
func TestProgramKeepsTheOrder(t *testing.T) {
	no, yes := Call{Nr: 9, Where: []Arg{Is(0, 1)}, Errno: unix.ENOSYS}, Call{Nr: 9}
	others := Calls(4, 5, 6, 7, 8, 10, 11)
	for _, c := range []struct {
		calls []Call
		want  uint32
	}{
		{slices.Concat([]Call{no}, others, []Call{yes}), unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{slices.Concat([]Call{yes}, others, []Call{no}), unix.SECCOMP_RET_ALLOW},
	} {
		if got := verdict(t, c.calls, auditArch, 9, 1); got != c.want {
			t.Errorf("%+v: %#x, want %#x", c.calls, got, c.want)
		}
	}
}

// What no jump can reach over is refused, not jumped into.
func TestProgramTooLong(t *testing.T) {
	var calls []Call
	for i := range farthest {
		calls = append(calls, Call{Nr: 3, Where: []Arg{Is(0, uint32(i))}})
	}
	if _, err := Program(calls); err == nil {
		t.Error("a number with a thousand instructions was accepted")
	}
}
