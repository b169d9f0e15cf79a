package api_test

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

// BenchmarkDecodeBulk decodes a full bulk request, and one that is refused for its last item.
func BenchmarkDecodeBulk(b *testing.B) {
	const item = `{"packName":"hello","packVersion":"1.2.3","labels":{"app":"web","tier":"front"},"env":{"A":"1","B":"two"},` +
		`"resourceRequests":{"cpu":"100m","memory":128},"tolerations":[{"key":"a","operator":"Exists"},{"key":"b","operator":"Equal","value":"c"}],` +
		`"metadata":{"args":["a","b",1,{"c":null}]}}`
	good := strings.Repeat(item+",", api.MaxBulkPods-1)
	for name, last := range map[string]string{"good": item, "faulty": `{"packName":5}`} {
		text := []byte(`{"items":[` + good + last + `]}`)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				var r api.CreatePodsRequest
				if err := api.Decode(text, &r); (err == nil) != (name == "good") {
					b.Fatal(err)
				}
			}
		})
	}
}
