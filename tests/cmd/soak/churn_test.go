package main

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestARefusalIsAskedAgain(t *testing.T) {
	t.Parallel()
	away := fault.New(fault.Unavailable, "the database is not available")
	for _, c := range []struct {
		name    string
		answers func(n int64) error
		want    error
		refused int64
	}{
		{"a while", func(n int64) error {
			if n < 60 {
				return away
			}
			return nil
		}, nil, 60},
		{"too long", func(int64) error { return away }, away, 122},
		{"another fault", func(int64) error { return errDenied }, errDenied, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var soak churn
				err := soak.patiently(t.Context(), func() error { return c.answers(soak.refused.Load()) })
				if !errors.Is(err, c.want) {
					t.Errorf("patiently = %v, want %v", err, c.want)
				}
				if got := soak.refused.Load(); got != c.refused {
					t.Errorf("%d refusals, want %d", got, c.refused)
				}
			})
		})
	}
}

var errDenied = fault.New(fault.Forbidden, "no")
