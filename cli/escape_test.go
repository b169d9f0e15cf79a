package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// What others write steers nobody's terminal, in no format, and programs read back
// what was written.
func TestNothingSteersTheTerminal(t *testing.T) {
	t.Parallel()
	hostile := []string{
		"a\x1b[31mred", "a\x1b]0;title\x07\r\nb", "line\n\x1b[2Jline", "\u009b31m", "a\u202egpj.exe", "\x7f", "tab\tand\nline",
		"plain", "", "yes", "1.5", "key: value", " led", "é💩", `back\slash "quote"`,
	}
	for _, text := range hostile {
		for _, f := range []format{formatJSON, formatYAML} {
			var out bytes.Buffer
			a := &app{stdout: &out, stderr: io.Discard, flagOutput: string(f)}
			in := map[string]any{"name": text, "list": []any{text, 1.5, true, nil}, "in": map[string]any{"k": text}}
			if err := a.printData(in); err != nil {
				t.Fatal(err)
			}
			if i := strings.IndexFunc(out.String(), steers); i >= 0 {
				t.Errorf("%s of %q has %q", f, text, out.String()[i:])
			}
			var back map[string]any
			read := json.Unmarshal
			if f == formatYAML {
				read = func(data []byte, v any) error { return yaml.Unmarshal(data, v) }
			}
			if err := read(out.Bytes(), &back); err != nil {
				t.Fatalf("%s of %q: %v\n%s", f, text, err, out.String())
			}
			inner, _ := back["in"].(map[string]any)
			list, _ := back["list"].([]any)
			if back["name"] != text || inner["k"] != text || len(list) != 4 || list[0] != text || list[1] != 1.5 {
				t.Errorf("%s of %q reads back as %q", f, text, back)
			}
		}
		if i := strings.IndexFunc(clean(text), steers); i >= 0 || strings.ContainsAny(clean(text), "\n\t") {
			t.Errorf("the cell of %q is %q", text, clean(text))
		}
	}
}
