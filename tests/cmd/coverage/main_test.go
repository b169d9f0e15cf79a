package main

import (
	"strings"
	"testing"
)

const profile = `mode: atomic
github.com/stark-orchestrator/stark/core/pod/state.go:1.1,2.2 9 0
github.com/stark-orchestrator/stark/core/pod/state.go:1.1,2.2 9 4
github.com/stark-orchestrator/stark/core/pod/state.go:3.1,4.2 1 0
github.com/stark-orchestrator/stark/server/rest/a.go:1.1,2.2 10 0
github.com/stark-orchestrator/stark/tests/cmd/coverage/main.go:1.1,2.2 100 0
example.com/other/a.go:1.1,2.2 100 0
`

func TestReportCountsEachBlockOnceAndNamesWhatIsTooLow(t *testing.T) {
	t.Parallel()
	modules, err := read(strings.NewReader(profile))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = report(modules, &out)
	want := "coverage core       90.0 % of 10 statements\n" +
		"coverage server      0.0 % of 10 statements\n" +
		"coverage total      45.0 % of 20 statements\n"
	if out.String() != want {
		t.Errorf("report:\n%s\nwant:\n%s", out.String(), want)
	}
	if err == nil || err.Error() != "too low: total has 45.0 %, needs 80 %" {
		t.Errorf("error = %v", err)
	}
}

func TestReadRefusesAMalformedProfile(t *testing.T) {
	t.Parallel()
	if _, err := read(strings.NewReader(modulePrefix + "core/a.go:1.1,2.2 x 1\n")); err == nil {
		t.Error("no error for a count that is no number")
	}
}
