package api_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// wantFields checks that err is a validation fault with exactly these fields.
func wantFields(t *testing.T, err error, want map[string]string) {
	t.Helper()
	if len(want) == 0 {
		if err != nil {
			t.Errorf("got %v, want it valid", err)
		}
		return
	}
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Code != fault.Validation {
		t.Errorf("got %v, want a validation fault", err)
		return
	}
	got := map[string]string{}
	for path, v := range e.Details {
		field, ok := v.(fault.Field)
		if !ok || field.Message == "" {
			t.Errorf("%s: detail %#v, want a field with a message", path, v)
		}
		got[path] = field.Code
	}
	if !maps.Equal(got, want) {
		t.Errorf("got faults %v, want %v", got, want)
	}
}

type validator interface{ Validate() error }

type validateCase struct {
	name string
	in   validator
	want map[string]string
}

func runValidate(t *testing.T, cases []validateCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			wantFields(t, c.in.Validate(), c.want)
		})
	}
}

// many gives n valid labels.
func many(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m["k"+strings.Repeat("x", i)] = "v"
	}
	return m
}
