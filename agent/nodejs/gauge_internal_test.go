//go:build linux

package nodejs

import (
	"os"
	"os/exec"
	"testing"
)

// TestGauge reads the memory of a process that lives, and none of one that is gone.
func TestGauge(t *testing.T) {
	t.Parallel()
	own := openGauge(os.Getpid())
	defer own.close()
	for range 2 {
		if got := own.bytes(); got < mebibyte {
			t.Errorf("this process takes %d bytes", got)
		}
	}

	cmd := exec.CommandContext(t.Context(), "cat")
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g := openGauge(cmd.Process.Pid)
	defer g.close()
	if err := hold.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := g.bytes(); got != 0 {
		t.Errorf("a process that has ended takes %d bytes", got)
	}
	late := openGauge(cmd.Process.Pid)
	defer late.close()
	if got := late.bytes(); got != 0 {
		t.Errorf("a process that was gone before takes %d bytes", got)
	}
}
