package dispatch_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// A reader that takes nothing gives the node no room, and one that takes lines gives it
// back as much: what waits waits at the node.
func TestLogsKeepToTheirWindow(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	p, _ := r.agent(t)
	took, goOn := make(chan int), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer close(took)
		for c, err := range r.d.OpenLogs(ctx, "n1", wire.LogsOpen{PodID: podID, Follow: true, Window: 1 << 10}) {
			if err != nil {
				return
			}
			took <- len(c.Lines)
			<-goOn
		}
	}()
	var open wire.LogsOpen
	p.expect(wire.TypeLogsOpen, &open)
	if open.Window != 1<<10 {
		t.Fatalf("the node may send %d bytes", open.Window)
	}
	chunk := wire.LogsChunk{StreamID: open.StreamID, Lines: []api.LogLine{{Line: strings.Repeat("x", 1024-wire.LogLineCost)}}}
	p.send(wire.TypeLogsChunk, "", chunk)
	receive(t, took, "the first chunk")
	// The reader stands still now. A node that heeds no window loses lines, with a mark.
	for range 6 {
		p.send(wire.TypeLogsChunk, "", chunk)
	}
	p.send(wire.TypePing, "", nil)
	p.expect(wire.TypePong, nil) // before any room was given
	goOn <- struct{}{}
	var more wire.LogsMore
	p.expect(wire.TypeLogsMore, &more)
	if more.StreamID != open.StreamID || more.Bytes != 1024 {
		t.Errorf("got %+v", more)
	}
	lines := 0
	for range 2 {
		lines += receive(t, took, "what was kept")
		goOn <- struct{}{}
		p.expect(wire.TypeLogsMore, nil)
	}
	if lines += receive(t, took, "the mark"); lines != 3 { // two, and the mark for the other four
		t.Errorf("%d lines", lines)
	}
}

func TestCheckpointsAreStoredForTheirNode(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	stored := make(chan []dispatch.NodeCheckpoint, 10)
	db.storeCheckpoints = func(_ context.Context, all []dispatch.NodeCheckpoint) error {
		stored <- all
		return nil
	}
	r := newRig(t, db, dispatch.Config{})
	p, _ := r.agent(t)
	good := wire.LogCheckpoint{RunKey: api.RunKey{PodID: podID, Incarnation: 1, Attempt: 1}, Lines: []api.LogLine{{Line: "one"}}}
	p.send(wire.TypeLogsCheckpoint, "c1", wire.LogCheckpoints{Checkpoints: []wire.LogCheckpoint{good}})
	p.expect(wire.TypeLogsCheckpoint+wire.AckSuffix, nil)
	if got := receive(t, stored, "the checkpoint"); len(got) != 1 || got[0].NodeID != "n1" || got[0].Lines[0].Line != "one" {
		t.Errorf("got %+v", got)
	}
	for name, change := range map[string]func(*wire.LogCheckpoint){
		"no pod":         func(c *wire.LogCheckpoint) { c.PodID = "x" },
		"no incarnation": func(c *wire.LogCheckpoint) { c.Incarnation = 0 },
		"no attempt":     func(c *wire.LogCheckpoint) { c.Attempt = 0 },
		"too long":       func(c *wire.LogCheckpoint) { c.Lines = []api.LogLine{{Line: strings.Repeat("x", api.MaxLastOutput+1)}} },
		"too many lines": func(c *wire.LogCheckpoint) { c.Lines = make([]api.LogLine, wire.MaxCheckpointLines+1) },
	} {
		bad := good
		change(&bad)
		p.send(wire.TypeLogsCheckpoint, "c2", wire.LogCheckpoints{Checkpoints: []wire.LogCheckpoint{good, bad}})
		var f wire.Failure
		p.expect(wire.TypeLogsCheckpoint+wire.ErrorSuffix, &f)
		if f.Code != string(fault.Validation) {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if len(stored) != 0 {
		t.Error("something of a refused message was stored")
	}
}

// What comes while a statement is under way goes in the next one together.
func TestCheckpointsShareAStatement(t *testing.T) {
	t.Parallel()
	sizes, goOn := make(chan int, 10), make(chan struct{})
	add := dispatch.Checkpoints(func(_ context.Context, all []dispatch.NodeCheckpoint) error {
		sizes <- len(all)
		<-goOn
		return nil
	})
	done := make(chan error, 4)
	go func() { done <- add(t.Context(), make([]dispatch.NodeCheckpoint, 1)) }()
	if n := receive(t, sizes, "the first"); n != 1 {
		t.Errorf("%d at first", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	for range 3 {
		go func() { done <- add(ctx, make([]dispatch.NodeCheckpoint, 2)) }()
	}
	cancel() // who does not wait any more leaves what it brought
	for range 3 {
		if err := receive(t, done, "those that left"); err == nil {
			t.Error("they were told that it is stored")
		}
	}
	close(goOn)
	if err := receive(t, done, "the first"); err != nil {
		t.Error(err)
	}
}
