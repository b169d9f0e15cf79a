//go:build unix

package nodejs

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// What a host wrote before it died is read, although somebody holds the pipe open and the
// time to read it was over when the reader came to it.
func TestWhatIsInAPipeIsReadBehindItsDeadline(t *testing.T) {
	t.Parallel()
	near, far, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	defer far.Close()
	const words = "last words\n"
	if _, err := io.WriteString(far, words); err != nil {
		t.Fatal(err)
	}
	if err := near.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(readRemains(near)); err != nil || string(got) != words {
		t.Errorf("got %q, %v", got, err)
	}
}

// Who goes on writing is not read for ever.
func TestRemainsAreBounded(t *testing.T) {
	t.Parallel()
	near, far, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := near.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		line := strings.Repeat("x", 4<<10)
		for err := error(nil); err == nil; {
			_, err = io.WriteString(far, line)
		}
	}()
	got, err := io.ReadAll(readRemains(near))
	if err != nil || len(got) > mostRemains {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	_ = near.Close()
	<-written
	_ = far.Close()
}
