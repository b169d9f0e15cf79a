package watch

import (
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

// A state is encoded once for all watchers, another one anew, and what has no cursor
// each time.
func TestEncodedOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		encoded       *Encoded
		first, second change
		same          bool
	}{
		"the same change": {NewEncoded(), change{"a", "v", "1"}, change{"a", "v", "1"}, true},
		"a later change":  {NewEncoded(), change{"a", "v", "1"}, change{"a", "v", "2"}, false},
		"a later version": {NewEncoded(), change{"a", "v", "1"}, change{"a", "w", "1"}, false},
		"no version":      {NewEncoded(), change{"a", "", "1"}, change{"a", "", "1"}, false},
		"another pod":     {NewEncoded(), change{"a", "v", "1"}, change{"b", "v", "1"}, false},
		"no cursor":       {NewEncoded(), change{"a", "v", ""}, change{"a", "v", ""}, false},
		"nothing kept":    {nil, change{"a", "v", "1"}, change{"a", "v", "1"}, false},
	} {
		before, err := c.encoded.of(c.first, api.Pod{ID: "a", Status: api.PodPending})
		if err != nil {
			t.Fatal(err)
		}
		after, err := c.encoded.of(c.second, api.Pod{ID: "a", Status: api.PodRunning})
		if err != nil {
			t.Fatal(err)
		}
		if same := string(before) == string(after); same != c.same {
			t.Errorf("%s: %s and then %s", name, before, after)
		}
	}
}
