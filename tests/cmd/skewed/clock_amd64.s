//go:build linux

#include "textflag.h"

// C calls it as int clock(clockid_t, struct timespec *): the clock in DI, the answer
// behind SI. Of the registers that C lets a function change it changes AX, CX and SI.
TEXT ·clock(SB),NOSPLIT|NOFRAME,$0-0
	SUBQ	$24, SP // keeps the stack as aligned as C wants it
	MOVQ	DI, 0(SP)
	MOVQ	SI, 8(SP)
	MOVQ	·original(SB), AX
	CALL	AX
	MOVQ	8(SP), SI
	CMPL	0(SP), $0 // CLOCK_REALTIME
	JNE	done
	MOVQ	·seconds(SB), CX
	ADDQ	CX, 0(SI)
done:
	ADDQ	$24, SP
	RET

// func address() uintptr
TEXT ·address(SB),NOSPLIT,$0-8
	LEAQ	·clock(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
