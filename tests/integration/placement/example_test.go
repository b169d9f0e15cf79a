package placement

import (
	"testing"

	"github.com/stark-orchestrator/stark/cli/manifest"
)

// example is one of Kubernetes' documentation, or an edge case of its rules.
type example struct {
	name  string
	given string   // what is there: documents as of "stark sim", pods with the node that they are on
	pod   string   // the document of the pod that comes
	on    []string // the nodes of which one takes it
	not   refusal  // where on is empty: how the pod is told that none does
}

// examples tries one after the other on one cluster, which each finds empty.
func examples(t *testing.T, list []example) {
	t.Helper()
	g := newGround(t)
	for _, ex := range list {
		t.Run(ex.name, func(t *testing.T) { g.try(t, ex) }) //nolint:paralleltest // they share the nodes of one cluster, one after the other
	}
}

func (g *ground) try(t *testing.T, ex example) {
	t.Helper()
	g.clear(t)
	g.given(t, ex.given)
	id := g.create(t, one(t, ex.pod))
	if len(ex.on) > 0 {
		g.takes(t, id, ex.on...)
	} else {
		g.refuses(t, id, ex.not)
	}
}

func one(t *testing.T, text string) manifest.Object {
	t.Helper()
	objects := documents(t, text)
	if len(objects) != 1 {
		t.Fatalf("got %d documents, want one", len(objects))
	}
	return objects[0]
}
