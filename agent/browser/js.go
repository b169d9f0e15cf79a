//go:build js

package browser

import (
	"context"
	"errors"
	"syscall/js"
)

// glue is the object that web/agent.js gives the program.
var glue = js.Global().Get("stark") //nolint:gochecknoglobals // the script sets it once, before the program starts

// await waits for a promise, or for ctx. What the promise gives after that is dropped.
func await(ctx context.Context, promise js.Value) (js.Value, error) {
	type outcome struct {
		value js.Value
		err   error
	}
	done := make(chan outcome, 1) // the callbacks never wait
	var fulfilled, rejected js.Func
	release := func() { fulfilled.Release(); rejected.Release() }
	fulfilled = js.FuncOf(func(_ js.Value, args []js.Value) any {
		done <- outcome{value: args[0]}
		release()
		return nil
	})
	rejected = js.FuncOf(func(_ js.Value, args []js.Value) any {
		done <- outcome{err: jsError(args[0])}
		release()
		return nil
	})
	promise.Call("then", fulfilled, rejected)
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		return js.Undefined(), context.Cause(ctx)
	}
}

// call calls a function of the glue that gives a promise.
func call(ctx context.Context, method string, args ...any) (js.Value, error) {
	return await(ctx, glue.Call(method, args...))
}

// random fills b with random bytes of the browser.
func random(b []byte) error {
	bytes := js.Global().Get("Uint8Array").New(len(b))
	js.Global().Get("crypto").Call("getRandomValues", bytes)
	js.CopyBytesToGo(b, bytes)
	return nil
}

func jsError(v js.Value) error {
	if v.Type() == js.TypeObject {
		if m := v.Get("message"); m.Type() == js.TypeString {
			return errors.New(m.String())
		}
	}
	return errors.New("a JavaScript error without a message")
}
