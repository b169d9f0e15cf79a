package rules_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// words gives all words that a page has between backticks.
func words(t *testing.T, page string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, quoted := range regexp.MustCompile("`[^`]+`").FindAllString(strings.ReplaceAll(string(text), "```", ""), -1) {
		for _, w := range regexp.MustCompile(`[A-Za-z0-9_:]+`).FindAllString(quoted, -1) {
			out[strings.TrimSuffix(w, ":")] = true
		}
	}
	return out
}

// texts gives the constants of a file whose names begin with prefix, by their names.
func texts(t *testing.T, file, prefix string) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		s, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range s.Names {
			if !strings.HasPrefix(name.Name, prefix) || i >= len(s.Values) {
				continue
			}
			if lit, ok := s.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if out[name.Name], err = strconv.Unquote(lit.Value); err != nil {
					t.Fatal(err)
				}
			}
		}
		return true
	})
	if len(out) == 0 {
		t.Fatalf("%s has no constants %s*", file, prefix)
	}
	return out
}

// docs/protocol.md names every message of agents and every word that may stand in one.
func TestTheProtocolHasTheWordsOfTheCode(t *testing.T) {
	t.Parallel()
	there := words(t, "protocol.md")
	for _, c := range []struct {
		file, prefix string
		not          []string // for others than agents
	}{
		{"shared/wire/wire.go", "Type", []string{"TypeWatch", "TypeUnwatch", "TypeEvent", "TypeBookmark", "TypeWatchResync", "TypeLogsCheckpoint"}},
		{"shared/wire/wire.go", "Desire", nil},
		{"shared/api/node_health.go", "Condition", nil},
		{"shared/api/pod.go", "Run", []string{"RunAssigned", "RunLost"}},
		{"shared/api/pod.go", "Reason", []string{
			"ReasonNodeLost", "ReasonRollbackFailed", "ReasonUnschedulable", "ReasonNeverFits",
			"ReasonWaitingForNode", "ReasonWaitingForRoom", "ReasonWaitingForQuota",
		}},
	} {
		for name, text := range texts(t, c.file, c.prefix) {
			if !there[text] && !slices.Contains(c.not, name) {
				t.Errorf("docs/protocol.md does not name %q (%s)", text, name)
			}
		}
	}
	for _, stream := range []string{"stdout", "stderr", api.StreamLog} {
		if !there[stream] {
			t.Errorf("docs/protocol.md does not name the stream %s", stream)
		}
	}
	for _, code := range []fault.Code{
		fault.Validation, fault.Timeout, fault.Unavailable, fault.RateLimited, fault.NotFound, fault.Forbidden,
		fault.AuthenticationRequired, fault.Internal, fault.Stale, fault.Conflict,
	} {
		if !there[string(code)] {
			t.Errorf("docs/protocol.md does not name the code %s", code)
		}
	}
}

// docs/protocol.md names every field of what agents send and get.
func TestTheProtocolHasTheFieldsOfTheCode(t *testing.T) {
	t.Parallel()
	there := words(t, "protocol.md")
	for _, message := range []any{
		wire.Envelope{},
		wire.Failure{},
		wire.Connected{},
		wire.Authenticate{},
		wire.Register{},
		wire.Registered{},
		wire.Heartbeat{},
		wire.HeartbeatAck{},
		api.NodeUsage{},
		api.PodUsage{},
		wire.RunState{},
		wire.RunsSet{},
		wire.RunsDelta{},
		wire.RunsAck{},
		wire.PodRef{},
		wire.Assignment{},
		wire.PodSpec{},
		wire.BundleURL{},
		wire.BundleURLAck{},
		wire.RunReports{},
		wire.RunReport{},
		wire.RunReportsAck{},
		wire.Refusal{},
		api.Termination{},
		api.Usage{},
		wire.LogsOpen{},
		wire.LogPosition{},
		wire.LogsMore{},
		wire.LogsClose{},
		wire.LogsChunk{},
		wire.LogsEnd{},
	} {
		typ := reflect.TypeOf(message)
		for _, f := range reflect.VisibleFields(typ) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name != "" && name != "-" && !there[name] {
				t.Errorf("docs/protocol.md does not name %s of %s", name, typ)
			}
		}
	}
}
