package nodejs

import (
	"io"
	"os"
	"os/exec"
	"testing"
)

// The channel of a process that was killed closes before the process is a zombie; however
// long it takes to become one on a busy machine, it did not close the channel itself.
func TestADyingProcessIsKnownWhenItsChannelCloses(t *testing.T) {
	t.Parallel()
	for range 200 {
		near, far, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "sleep", "1000")
		cmd.ExtraFiles = []*os.File{far}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = far.Close()
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(near); err != nil {
			t.Fatal(err)
		}
		if !diedWithin(cmd.Process.Pid, 0) {
			t.Error("a process that was killed is said to live")
		}
		_ = near.Close()
		_ = cmd.Wait()
	}
}
