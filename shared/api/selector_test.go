package api_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestParseSelector(t *testing.T) {
	t.Parallel()
	in := func(k string, v ...string) api.Requirement {
		return api.Requirement{Key: k, Operator: api.OpIn, Values: v}
	}
	notIn := func(k string, v ...string) api.Requirement {
		return api.Requirement{Key: k, Operator: api.OpNotIn, Values: v}
	}
	for text, want := range map[string]api.Selector{
		"":                           nil,
		"  ":                         nil,
		"a=b":                        {in("a", "b")},
		"a==b":                       {in("a", "b")},
		" a = b , c != d ":           {in("a", "b"), notIn("c", "d")},
		"a=":                         {in("a", "")},
		"a=,b":                       {in("a", ""), {Key: "b", Operator: api.OpExists}},
		"a":                          {{Key: "a", Operator: api.OpExists}},
		"!a":                         {{Key: "a", Operator: api.OpDoesNotExist}},
		"! a":                        {{Key: "a", Operator: api.OpDoesNotExist}},
		"e in (x,y),f notin (z)":     {in("e", "x", "y"), notIn("f", "z")},
		"e in(x , x,)":               {in("e", "x", "")},
		"in in (in)":                 {in("in", "in")},
		"notin":                      {{Key: "notin", Operator: api.OpExists}},
		"x>1,y<20":                   {{Key: "x", Operator: api.OpGt, Values: []string{"1"}}, {Key: "y", Operator: api.OpLt, Values: []string{"20"}}},
		"stark.dev/zone=eu-1,tier.x": {in("stark.dev/zone", "eu-1"), {Key: "tier.x", Operator: api.OpExists}},
	} {
		got, err := api.ParseSelector(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseSelector(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestSelectorsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		",", "a,", ",a", "a=b,,c", "=b", "!", "!a=b", "a b", "a in", "a in x", "a in ()", "a in (x", "a in (x y)", "a in (x))",
		"a>x", "a>", "a=b c", "a===b", "a=b=c", "a=-b", "-a", "a/", "/a", "a/b/c", "ä=b", "a=b;c", "a~b", "a=" + strings.Repeat("v", 64),
		strings.Repeat("k", 254), strings.Repeat("a,", 2100), strings.TrimSuffix(strings.Repeat("a,", 101), ","),
	} {
		if got, err := api.ParseSelector(text); err == nil {
			t.Errorf("ParseSelector(%.40q) = %v, want an error", text, got)
		}
	}
}

func TestSelectorMatches(t *testing.T) {
	t.Parallel()
	labels := map[string]string{"app": "web", "tier": "", "n": "10", "word": "x1"}
	for text, want := range map[string]bool{
		"": true, "app=web": true, "app=api": false, "app!=api": true, "gone!=x": true, "gone": false, "!gone": true, "!app": false,
		"tier=": true, "tier": true, "app in (api,web)": true, "app notin (api,web)": false, "gone in (x)": false, "gone notin (x)": true,
		"n>9": true, "n>10": false, "n<11": true, "n<10": false, "word>0": false, "gone<5": false, "app=web,n>100": false,
	} {
		s, err := api.ParseSelector(text)
		if err != nil {
			t.Fatalf("ParseSelector(%q): %v", text, err)
		}
		if got := s.Matches(labels); got != want {
			t.Errorf("%q matches: %t, want %t", text, got, want)
		}
	}
	for _, r := range []api.Requirement{
		{Key: "n", Operator: "Near"},
		{Key: "n", Operator: api.OpGt},
		{Key: "n", Operator: api.OpGt, Values: []string{"1.5"}},
		{Key: "n", Operator: api.OpGt, Values: []string{"1", "2"}},
	} {
		if r.Matches(labels) {
			t.Errorf("%v matches, want it to match nothing", r)
		}
	}
}

func TestLabelSelector(t *testing.T) {
	t.Parallel()
	s := api.LabelSelector{
		MatchLabels:      map[string]string{"b": "2", "a": "1"},
		MatchExpressions: []api.Requirement{{Key: "c", Operator: api.OpIn, Values: []string{"x", "y"}}, {Key: "d", Operator: api.OpDoesNotExist}},
	}
	if got, want := s.Selector().String(), "a=1,b=2,c in (x,y),!d"; got != want {
		t.Errorf("Selector() = %q, want %q", got, want)
	}
	ok := map[string]string{"a": "1", "b": "2", "c": "y"}
	if !s.Matches(ok) || !s.Selector().Matches(ok) {
		t.Error("does not match what meets all conditions")
	}
	for _, bad := range []map[string]string{nil, {"a": "1", "c": "x"}, {"a": "1", "b": "2"}, {"a": "1", "b": "2", "c": "x", "d": ""}} {
		if s.Matches(bad) || s.Selector().Matches(bad) {
			t.Errorf("matches %v", bad)
		}
	}
	if !(api.LabelSelector{}).Matches(nil) || !api.MatchesLabels(nil, ok) || api.MatchesLabels(map[string]string{"z": ""}, ok) {
		t.Error("an empty selector must match all, an absent label must differ from an empty one")
	}
	if got := (api.Selector{{Key: "x", Operator: api.OpGt, Values: []string{"1"}}, {Key: "y", Operator: api.OpLt, Values: []string{"2"}}, {Key: "z", Operator: api.OpExists}, {Key: "w", Operator: api.OpNotIn, Values: []string{"q"}}}).String(); got != "x>1,y<2,z,w!=q" {
		t.Errorf("String() = %q", got)
	}
}

func TestNodeSelector(t *testing.T) {
	t.Parallel()
	zone := api.Requirement{Key: "zone", Operator: api.OpIn, Values: []string{"a"}}
	name := api.Requirement{Key: api.FieldMetadataName, Operator: api.OpIn, Values: []string{"n1"}}
	s := api.NodeSelector{NodeSelectorTerms: []api.NodeSelectorTerm{
		{}, {MatchExpressions: []api.Requirement{zone}, MatchFields: []api.Requirement{name}}, {MatchExpressions: []api.Requirement{{Key: "gpu", Operator: api.OpExists}}},
	}}
	for _, c := range []struct {
		node   string
		labels map[string]string
		want   bool
	}{
		{"n1", map[string]string{"zone": "a"}, true},
		{"n2", map[string]string{"zone": "a"}, false},
		{"n2", map[string]string{"gpu": ""}, true},
		{"n1", nil, false},
	} {
		if got := s.Matches(c.node, c.labels); got != c.want {
			t.Errorf("node %s with %v: %t, want %t", c.node, c.labels, got, c.want)
		}
	}
}

func TestTolerates(t *testing.T) {
	t.Parallel()
	taint := api.Taint{Key: "gpu", Value: "a100", Effect: api.NoSchedule}
	for _, c := range []struct {
		toleration api.Toleration
		want       bool
	}{
		{api.Toleration{Operator: api.TolerationExists}, true},
		{api.Toleration{Operator: api.TolerationExists, Effect: api.NoExecute}, false},
		{api.Toleration{Key: "gpu", Operator: api.TolerationExists}, true},
		{api.Toleration{Key: "cpu", Operator: api.TolerationExists}, false},
		{api.Toleration{Key: "gpu", Value: "a100"}, true},
		{api.Toleration{Key: "gpu", Operator: api.TolerationEqual, Value: "a100", Effect: api.NoSchedule}, true},
		{api.Toleration{Key: "gpu", Value: "h100"}, false},
		{api.Toleration{Key: "gpu"}, false},
		{api.Toleration{Value: "a100"}, false},
		{api.Toleration{Key: "gpu", Operator: "Like", Value: "a100"}, false},
	} {
		if got := c.toleration.Tolerates(taint); got != c.want {
			t.Errorf("%+v tolerates: %t, want %t", c.toleration, got, c.want)
		}
	}
	taints := []api.Taint{{Key: "soft", Effect: api.PreferNoSchedule}, taint, {Key: "x", Effect: api.NoExecute}}
	if got, found := api.Untolerated(taints, nil, api.NoSchedule, api.NoExecute); !found || got != taint {
		t.Errorf("Untolerated = %v, %t, want the first hard taint", got, found)
	}
	if got, found := api.Untolerated(taints, []api.Toleration{{Operator: api.TolerationExists}}, api.NoSchedule, api.NoExecute, api.PreferNoSchedule); found {
		t.Errorf("Untolerated = %v with a toleration of everything", got)
	}
}

// FuzzSelector checks that what parses is written and read again the same, and
// that matching does not fail on it.
func FuzzSelector(f *testing.F) {
	for _, s := range []string{"a=b,c!=d,e in (x,y),!f,g", "x>1", "in in (notin,)", "a==", "!a,b notin (c)", "stark.dev/x=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := api.ParseSelector(text)
		if err != nil {
			return
		}
		again, err := api.ParseSelector(s.String())
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%q is written as %q, which gives %v, %v", text, s, again, err)
		}
		labels := map[string]string{"a": "b", "x": "2"}
		if s.Matches(labels) != again.Matches(labels) {
			t.Errorf("%q and %q match differently", text, s)
		}
	})
}
