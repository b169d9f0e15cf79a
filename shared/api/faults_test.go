package api_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// An answer repeats no more of a request than one frame of a socket holds.
func TestFaultsAreBounded(t *testing.T) {
	t.Parallel()
	r := api.RegisterNodeRequest{Name: "n", RuntimeType: api.RuntimeNode, Taints: make([]api.Taint, 5000), Labels: map[string]string{strings.Repeat("é", 200_000): "x"}}
	err := r.Validate()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.Validation || len(f.Details) != 100 {
		t.Fatalf("got %.300v", err)
	}
	if !strings.HasSuffix(f.Message, " more") {
		t.Errorf("the message %.300q does not say that there are more", f.Message)
	}
	for path := range f.Details {
		if len(path) > 310 || !utf8.ValidString(path) {
			t.Errorf("the path %.100q has %d bytes", path, len(path))
		}
	}
	if len(f.Message) > 2000 {
		t.Errorf("the message has %d bytes", len(f.Message))
	}
}
