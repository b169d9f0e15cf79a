package api_test

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestCredentials(t *testing.T) {
	t.Parallel()
	good := api.NewCredential([api.CredentialBytes]byte{0: 255, 7: 250, 31: 1})
	if err := api.ValidateCredential("credential", good); err != nil {
		t.Errorf("%v", err)
	}
	for name, bad := range map[string]string{
		"empty":             "",
		"no prefix":         strings.TrimPrefix(good, api.NodeCredentialPrefix),
		"a join token":      api.JoinTokenPrefix + strings.TrimPrefix(good, api.NodeCredentialPrefix),
		"too short":         good[:len(good)-1],
		"too long":          good + "A",
		"padded":            good + "=",
		"another alphabet":  good[:len(good)-2] + "+/",
		"a line break":      good[:len(good)-1] + "\n",
		"NUL":               good[:len(good)-1] + "\x00",
		"invalid UTF-8":     good[:len(good)-1] + "\xff",
		"not canonical":     good[:len(good)-1] + "F",
		"a megabyte":        api.NodeCredentialPrefix + strings.Repeat("A", 1<<20),
		"prefix in capital": strings.ToUpper(api.NodeCredentialPrefix) + strings.TrimPrefix(good, api.NodeCredentialPrefix),
	} {
		err := api.ValidateCredential("credential", bad)
		if fault.CodeOf(err) != fault.Validation {
			t.Errorf("%s: got %v, want a fault of the field", name, err)
			continue
		}
		if bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%s: the fault repeats the secret: %v", name, err)
		}
	}
}
