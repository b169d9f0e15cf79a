package cli

import (
	"errors"
	"testing"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// What was read may be older than what is there when it is changed.
func TestAChangeIsDecidedAnew(t *testing.T) {
	t.Parallel()
	other := fault.New(fault.Conflict, "the node has changed since it was read")
	other.Details = map[string]any{"resourceVersion": "7"}
	for name, c := range map[string]struct {
		errs  []error
		tries int
		fails bool
	}{
		"at once":          {[]error{nil}, 1, false},
		"the second time":  {[]error{other, nil}, 2, false},
		"never":            {[]error{other, other, other, other, other, nil}, 5, true},
		"another conflict": {[]error{fault.New(fault.Conflict, "it exists already"), nil}, 1, true},
		"another fault":    {[]error{errors.New("no"), nil}, 1, true},
	} {
		tries := 0
		err := again(func() error {
			tries++
			return c.errs[tries-1]
		})
		if tries != c.tries || (err != nil) != c.fails {
			t.Errorf("%s: %d tries, %v", name, tries, err)
		}
	}
}
