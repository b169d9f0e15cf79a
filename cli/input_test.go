package cli

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

func TestCtrlCEndsAQuestion(t *testing.T) {
	t.Parallel()
	read, write := io.Pipe() // nobody types
	defer func() { _ = write.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	home := t.TempDir()
	getenv := func(name string) string { return map[string]string{"STARK_HOME": home}[name] }
	exit := make(chan int, 1)
	var errOut bytes.Buffer
	go func() {
		exit <- Run(ctx, []string{"auth", "login", "--email", "a@b.cd", "--password-stdin"}, getenv, read, io.Discard, &errOut)
	}()
	cancel()
	select {
	case code := <-exit:
		if code != exitError || !strings.Contains(errOut.String(), "interrupted") {
			t.Errorf("exit code %d, %q", code, errOut.String())
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on waiting for a line")
	}
}
