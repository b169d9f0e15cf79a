package local

import (
	"strings"
	"testing"
)

func TestInventedPasswordsMeetThePolicy(t *testing.T) {
	t.Parallel()
	for range 2000 {
		p := inventPassword()
		if !strings.ContainsAny(p, "0123456789") || !strings.ContainsAny(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") || p == strings.ToUpper(p) {
			t.Fatalf("%q lacks a digit, an upper-case or a lower-case letter", p)
		}
	}
}
