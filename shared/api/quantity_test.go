package api_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestParseMillicores(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]api.Millicores{
		"0": 0, "1": 1000, "2": 2000, "500m": 500, "0.5": 500, ".5": 500, "5.": 5000, "1.5": 1500, "+2": 2000, "-1": -1000,
		"0.0001": 1, "1u": 1, "1500u": 2, "1n": 1, "1k": 1_000_000, "2e3": 2_000_000, "1E2": 100_000, "15e-1": 1500,
		"1.500000000000": 1500, "0m": 0, "-0": 0, "1Ki": 1_024_000, "0e18": 0,
	} {
		got, err := api.ParseMillicores(in)
		if err != nil || got != want {
			t.Errorf("ParseMillicores(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
}

func TestParseMebibytes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]api.Mebibytes{
		"0": 0, "512Mi": 512, "1Gi": 1024, "1.5Gi": 1536, "1Ti": 1 << 20, "1Pi": 1 << 30, "4Ei": 1 << 42, "1048576": 1, "1048577": 2,
		"1024Ki": 1, "100M": 96, "1G": 954, "1e9": 954, "-1Gi": -1024, "128974848": 123, "0Mi": 0, "1000.000000000Gi": 1_024_000,
	} {
		got, err := api.ParseMebibytes(in)
		if err != nil || got != want {
			t.Errorf("ParseMebibytes(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
}

func TestQuantitiesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", " ", "m", "Mi", ".", "+", "-", "1 Gi", "1gi", "1GI", "1GiB", "1mm", "1.2.3", "0x10", "1e", "1e1.5", "1e19", "1e-10",
		"NaN", "Inf", "١", "99999999999999999999", "9223372036854775808000", "1.0000000001", "9Ei", "--1", "1_000", "512", "1M",
	} {
		if got, err := api.ParseMebibytes(in); err == nil {
			t.Errorf("ParseMebibytes(%q) = %d, want an error", in, got)
		}
	}
	if got, err := api.ParseMillicores("1E"); err == nil { // 10^18 cores, in millicores beyond int64
		t.Errorf("ParseMillicores(1E) = %d, want an error", got)
	}
	if _, err := api.ParseMebibytes("512"); err == nil || !strings.Contains(err.Error(), "less than 1Mi") {
		t.Errorf("512 bytes: got %v, want a hint that a unit is missing", err)
	}
}

func TestQuantityText(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		api.Millicores(0).String(): "0", api.Millicores(500).String(): "500m", api.Millicores(2000).String(): "2",
		api.Mebibytes(512).String(): "512Mi", api.Mebibytes(1024).String(): "1Gi", api.Mebibytes(1536).String(): "1536Mi",
		api.Mebibytes(1 << 20).String(): "1Ti", api.Mebibytes(1 << 40).String(): "1024Pi", api.Mebibytes(0).String() + "b": "0b",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestQuantityJSON(t *testing.T) {
	t.Parallel()
	var r api.ResourceInput
	if err := json.Unmarshal([]byte(`{"cpu":250,"memory":"1Gi","storage":null}`), &r); err != nil {
		t.Fatal(err)
	}
	if *r.CPU != 250 || *r.Memory != 1024 || r.Storage != nil {
		t.Errorf("got %d %d %v, want 250 1024 nil", *r.CPU, *r.Memory, r.Storage)
	}
	out, err := json.Marshal(api.Resources{CPU: 1500, Memory: 2048})
	if err != nil || string(out) != `{"cpu":1500,"memory":2048}` {
		t.Errorf("Marshal gave %s, %v", out, err)
	}
	for _, bad := range []string{`1.5`, `true`, `{}`, `[]`, `"x"`, `"\ud800"`, `1e3`, `99999999999999999999`} {
		var c api.Millicores
		if err := json.Unmarshal([]byte(bad), &c); err == nil {
			t.Errorf("cpu %s gave %d, want an error", bad, c)
		}
		var m api.Mebibytes
		if err := json.Unmarshal([]byte(bad), &m); err == nil {
			t.Errorf("memory %s gave %d, want an error", bad, m)
		}
	}
	var keep api.Millicores = 7
	if err := json.Unmarshal([]byte(`null`), &keep); err != nil || keep != 7 {
		t.Errorf("null gave %d, %v, want the value left alone", keep, err)
	}
}

// FuzzQuantity holds the parser to exact arithmetic, and to its own output.
func FuzzQuantity(f *testing.F) {
	for _, s := range []string{"1", "500m", "1.5Gi", "2e3", "-1Ki", "0.000000001", "18446744073709551615", "1E", "9Ei"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := api.ParseMillicores(s)
		if err != nil {
			return
		}
		if again, err := api.ParseMillicores(got.String()); err != nil || again != got {
			t.Errorf("%q gives %d, its text %q gives %d, %v", s, got, got, again, err)
		}
		exact := exactCores(s)
		if exact == nil {
			return
		}
		want := new(big.Rat).Mul(exact, big.NewRat(1000, 1))
		diff := new(big.Rat).Sub(new(big.Rat).SetInt64(int64(got)), want)
		if diff.Abs(diff).Cmp(big.NewRat(1, 1)) >= 0 {
			t.Errorf("%q = %d millicores, want %s rounded", s, got, want.FloatString(3))
		}
	})
}

// exactCores evaluates plain decimals and those in milli; nil for the rest.
func exactCores(s string) *big.Rat {
	number, milli := strings.CutSuffix(s, "m")
	if strings.ContainsAny(number, "eExXpP_/nukMGTPEi") {
		return nil
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return nil
	}
	if milli {
		r.Quo(r, big.NewRat(1000, 1))
	}
	return r
}
