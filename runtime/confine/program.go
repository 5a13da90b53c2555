package confine

import (
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data of linux/seccomp.h, in the byte order of the
// processors that we build for, which is little endian.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

// x32Bit marks the calls of amd64's x32 ABI, which have other numbers.
const x32Bit = 0x40000000

// everythingElse is refused, and the kernel writes it to its audit log.
const everythingElse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)

// Program is the filter as the kernel takes it. It finds a call's number by
// halves: the kernel runs it for every number when it is installed, and again
// for each call whose arguments matter, as a VMM's every entry into its guest is.
func Program(calls []Call) ([]bpf.RawInstruction, error) {
	numbers := byNumber(calls)
	for _, n := range numbers {
		if len(n.decides) > farthest {
			return nil, fmt.Errorf("system call %d has too many conditions", n.nr)
		}
	}
	return bpf.Assemble(search([]bpf.Instruction{
		load(offArch),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS}, // another ABI's calls
		load(offNr),
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: x32Bit, SkipFalse: 1},
		bpf.RetConstant{Val: everythingElse},
	}, numbers))
}

func load(off uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: off, Size: 4} }

// number is a system call's number and the program that decides about its
// arguments: each way through it ends in a verdict.
type number struct {
	nr      uint32
	decides []bpf.Instruction
}

// byNumber is calls in the order of their numbers. Alternatives stay in theirs.
func byNumber(calls []Call) []number {
	sorted := slices.Clone(calls)
	slices.SortStableFunc(sorted, func(a, b Call) int { return cmp.Compare(a.Nr, b.Nr) })
	numbers := make([]number, 0, len(sorted))
	for i, c := range sorted {
		if i == 0 || c.Nr != sorted[i-1].Nr {
			numbers = append(numbers, number{nr: uint32(c.Nr)})
		}
		last := &numbers[len(numbers)-1]
		last.decides = append(last.decides, c.rule()...)
		if len(c.Where) > 0 && (i == len(sorted)-1 || c.Nr != sorted[i+1].Nr) {
			last.decides = append(last.decides, bpf.RetConstant{Val: everythingElse})
		}
	}
	return numbers
}

// rule is the call's verdict if its conditions are met, else it ends behind it.
func (c *Call) rule() []bpf.Instruction {
	var rule []bpf.Instruction
	for i, a := range c.Where {
		// Past the conditions that follow, and the verdict.
		rest := uint8(3*(len(c.Where)-i-1) + 1)
		rule = append(rule, load(offArgs+8*uint32(a.Index)), bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: a.Mask},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: a.Value, SkipFalse: rest})
	}
	verdict := uint32(unix.SECCOMP_RET_ALLOW)
	if c.Errno != 0 {
		verdict = unix.SECCOMP_RET_ERRNO | uint32(c.Errno)
	}
	return append(rule, bpf.RetConstant{Val: verdict})
}

const (
	few      = 4   // numbers that are compared one after the other
	farthest = 255 // instructions that a conditional jump reaches over
)

// search appends what goes on with the program of the call's number, if there is
// one.
func search(program []bpf.Instruction, numbers []number) []bpf.Instruction {
	if len(numbers) <= few {
		for _, n := range numbers {
			program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: n.nr, SkipFalse: uint8(len(n.decides))})
			program = append(program, n.decides...)
		}
		return append(program, bpf.RetConstant{Val: everythingElse})
	}
	half := len(numbers) / 2
	at := len(program)
	program = search(append(program,
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: numbers[half].nr, SkipFalse: 1},
		nil, // over the lower half, however far that is
	), numbers[:half])
	program[at+1] = bpf.Jump{Skip: uint32(len(program) - at - 2)}
	return search(program, numbers[half:])
}
