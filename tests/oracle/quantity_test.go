package oracle_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"

	"github.com/stark-orchestrator/stark/shared/api"
)

// drawQuantity draws text that is a quantity mostly, and nearly one sometimes.
func drawQuantity(t *rapid.T) string {
	suffixes := []string{"", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "e3", "E2", "e-2", "n", "u"}
	wrong := []string{"K", "mi", "MiB", "B", " ", "ee", "-"}
	number := rapid.StringMatching(`[+]?[0-9]{1,7}(\.[0-9]{0,4})?|\.[0-9]{1,3}`).Draw(t, "number")
	return number + rapid.SampledFrom(append(suffixes, wrong...)).Draw(t, "suffix")
}

// Whatever both read means the same to both; what Kubernetes refuses is refused.
func TestQuantities(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) { sameQuantity(t, drawQuantity(t)) })
}

func sameQuantity(t interface{ Fatalf(string, ...any) }, text string) {
	want, wrong := resource.ParseQuantity(text)
	cpu, err := api.ParseMillicores(text)
	if err == nil && wrong != nil {
		t.Fatalf("%q is no quantity to Kubernetes (%v), and %d millicores here", text, wrong, cpu)
	}
	if err == nil && int64(cpu) != want.MilliValue() {
		t.Fatalf("%q: got %d millicores, want %d", text, cpu, want.MilliValue())
	}
	memory, err := api.ParseMebibytes(text)
	if err == nil && wrong != nil {
		t.Fatalf("%q is no quantity to Kubernetes (%v), and %d MiB here", text, wrong, memory)
	}
	if err == nil && want.Sign() >= 0 {
		mib := want.Value() >> 20
		if want.Value() > mib<<20 {
			mib++
		}
		if int64(memory) != mib {
			t.Fatalf("%q: got %d MiB, want %d", text, memory, mib)
		}
	}
	// Kubernetes also reads numbers of more digits than 64 bits hold; here those are out
	// of range.
	if err != nil && wrong == nil && digits(text) <= 15 && want.Value() >= 1<<20 && want.Value() < 1<<50 {
		t.Fatalf("%q is %d bytes to Kubernetes, and %v here", text, want.Value(), err)
	}
}

func digits(text string) (n int) {
	for _, c := range text {
		if c >= '0' && c <= '9' {
			n++
		}
	}
	return n
}

func FuzzQuantity(f *testing.F) {
	for _, s := range []string{"1", "500m", "1.5", "512Mi", "1Gi", "1e3", "+1k", "0.1Mi", ".5Gi", "1.", "9223372036854775807", "-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 40 || strings.ContainsAny(s, "eE") && len(s) > 8 {
			t.Skip("Kubernetes computes any exponent")
		}
		sameQuantity(t, s)
	})
}
