//go:build amd64 || arm64

#include "textflag.h"

// forget is called by the kernel, on the stack for signals, and returns to
// sigaction's restorer or, where there is none, to the kernel's own.
TEXT forget<>(SB), NOSPLIT|NOFRAME, $0
	RET

GLOBL ·forgetter(SB), RODATA, $8
DATA ·forgetter(SB)/8, $forget<>(SB)
