#include "textflag.h"

// forget is called by the kernel, on the stack for signals, and returns to
// sigaction's restorer.
TEXT forget<>(SB), NOSPLIT|NOFRAME, $0
	RET

// func forgetter() uintptr
TEXT ·forgetter(SB), NOSPLIT, $0-8
	MOVD $forget<>(SB), R0
	MOVD R0, ret+0(FP)
	RET
