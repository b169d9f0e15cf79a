package server

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
)

// The code is told when the database can first say whether it is needed, and then once.
func TestTheSetupCodeIsToldWhenTheDatabaseAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		needed bool
		told   int
	}{"needed": {true, 1}, "not needed": {false, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				s := &Server{config: Config{SetupCode: "the-code"}, log: loggingtest.NewTo(t, &out).Logger}
				asked := 0
				s.tellSetupCode(t.Context(), func(context.Context) (api.SetupStatus, error) {
					if asked++; asked < 4 {
						return api.SetupStatus{}, errors.New("the database is not there")
					}
					return api.SetupStatus{NeedsSetup: c.needed}, nil
				})
				if asked != 4 || strings.Count(out.String(), "the-code") != c.told {
					t.Errorf("asked %d times, said %q", asked, out.String())
				}
			})
		})
	}
}

func TestTheSetupCodeIsGivenUpWithTheServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &Server{log: loggingtest.New(t).Logger}
		s.tellSetupCode(ctx, func(context.Context) (api.SetupStatus, error) {
			cancel()
			return api.SetupStatus{}, errors.New("the database is not there")
		})
	})
}
