package postgres

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

// documentSeeds are texts as Postgres writes them, and texts that it never does.
var documentSeeds = []string{
	`{}`, `[]`, `null`, `""`, `{`, `}`, ``, `{"a": "b"}`, `{"a": "b", "c": ""}`, `{"": ""}`, `{"a": "b",}`, `{"a": "b", }`, `{"a": "b"`,
	`{"a":"b"}`, `{"a": "b" }`, ` {"a": "b"}`, `{"a": "b"} `, `{"a": 1}`, `{"a": null}`, `{"a": {"b": "c"}}`, `{"a": "\""}`, `{"a\\": "b"}`,
	`{"ä": "ü 漢"}`, `{"a": "b", "a": "c"}`, "{\"a\": \"\x01\"}", "{\"a\": \"\xff\"}", `{, "a": "b"}`, `{"a": "b", "c"}`, `{"a": "b"}}`, `{}}`, `{"a": "b" "c": "d"}`,
	`{"cpu": 100, "memory": 64, "storage": 0}`, `{"cpu": 0}`, `{"cpu": 01}`, `{"cpu": -1}`, `{"cpu": 1.5}`, `{"cpu": 1e3}`, `{"cpu": "500m"}`,
	`{"cpu": 999999999999999}`, `{"cpu": 9999999999999999}`, `{"CPU": 1}`, `{"gpu": 1}`, `{"cpu": 1, "cpu": 2}`, `{"cpu": 1`, `{"cpu": }`, `{"cpu": null}`,
	`[{"key": "a", "operator": "Exists"}]`, `{"nodeName": "n1"}`, `{"k": [1, {"x": "y"}]}`,
}

// agree reports a difference to encoding/json, in the value or in whether there is one.
func agree[T any](text string) error {
	var got, want T
	err, wantErr := unmarshal([]byte(text), &got), json.Unmarshal([]byte(text), &want)
	if (err == nil) != (wantErr == nil) {
		return fmt.Errorf("%T of %q: got error %w, want %w", got, text, err, wantErr)
	}
	if err == nil && !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%q: got %#v, want %#v", text, got, want)
	}
	return nil
}

func agreeOnAll(t *testing.T, text string) {
	t.Helper()
	for _, err := range []error{
		agree[map[string]string](text), agree[map[string]any](text), agree[api.Resources](text),
		agree[api.Scheduling](text), agree[[]api.Toleration](text), agree[api.Termination](text),
	} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestDocumentsAreDecodedAsEncodingJSONDoes(t *testing.T) {
	t.Parallel()
	for _, text := range documentSeeds {
		agreeOnAll(t, text)
	}
}

func FuzzDocuments(f *testing.F) {
	for _, text := range documentSeeds {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { agreeOnAll(t, text) })
}

func TestEmptyAndPlainDocumentsAreNotLeftToReflection(t *testing.T) {
	var labels map[string]string
	var resources api.Resources
	for text, v := range map[string]any{`{"app": "web"}`: &labels, `{"cpu": 100, "memory": 64}`: &resources} {
		own := testing.AllocsPerRun(100, func() { _ = unmarshal([]byte(text), v) })
		standard := testing.AllocsPerRun(100, func() { _ = json.Unmarshal([]byte(text), v) })
		if own >= standard {
			t.Errorf("%s takes %.0f allocations and %.0f with encoding/json", text, own, standard)
		}
	}
}

func BenchmarkDocuments(b *testing.B) {
	texts := strings.Split(`{"app": "web"}|{"cpu": 100, "memory": 64, "storage": 0}`, "|")
	for name, decode := range map[string]func([]byte, any) error{"own": unmarshal, "encoding/json": json.Unmarshal} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var labels map[string]string
				var resources api.Resources
				_, _ = decode([]byte(texts[0]), &labels), decode([]byte(texts[1]), &resources)
			}
		})
	}
}
