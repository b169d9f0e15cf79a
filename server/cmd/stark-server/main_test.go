package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestTheProgramSaysWhichItIs(t *testing.T) {
	t.Parallel()
	none := func(string) string { return "" }
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--version"}, none, &out, io.Discard); err != nil || out.String() != "stark-server "+version+"\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if err := run(t.Context(), []string{"--port"}, none, &out, io.Discard); err == nil || !strings.Contains(err.Error(), "the environment configures the server") {
		t.Errorf("an argument that nobody knows: %v", err)
	}
}
