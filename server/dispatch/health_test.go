package dispatch_test

import (
	"errors"
	"testing"

	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func TestConditionsAreStoredOnceAndAfterAFailure(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	told := make(chan dispatch.NodeHealth, 16)
	fails := 1
	db.health = func(all []dispatch.NodeHealth) error { // called by one goroutine
		if fails > 0 {
			fails--
			return errors.New("the database is away")
		}
		for _, h := range all {
			told <- h
		}
		return nil
	}
	r := newRig(t, db, dispatch.Config{})
	p, _ := r.agent(t)
	full := []api.NodeCondition{{Type: api.ConditionDiskPressure, Status: true, Reason: "DiskNearlyFull"}}
	beat := func(c []api.NodeCondition, u *api.NodeUsage) {
		p.send(wire.TypeHeartbeat, "h", wire.Heartbeat{NodeID: "n1", Conditions: c, Usage: u})
		p.expect(wire.TypeHeartbeat+wire.AckSuffix, nil)
	}
	beat(full, nil)
	h := receive(t, told, "the conditions, stored at the second attempt")
	if h.NodeID != "n1" || len(h.Conditions) != 1 || h.Conditions[0].Type != api.ConditionDiskPressure || h.Usage != nil {
		t.Errorf("got %+v", h)
	}
	beat(full, nil)                                                                                                                                 // no news
	beat(nil, &api.NodeUsage{CPU: new(api.Millicores(7)), Pods: []api.PodUsage{{PodID: api.NewID(), Incarnation: 1, CPU: new(api.Millicores(7))}}}) // figures alone
	if h = receive(t, told, "the figures"); h.Conditions != nil || h.Usage == nil || *h.Usage.CPU != 7 {
		t.Errorf("got %+v, want figures alone", h)
	}
	beat([]api.NodeCondition{}, nil)
	if h = receive(t, told, "the end of the condition"); h.Conditions == nil || len(h.Conditions) != 0 {
		t.Errorf("got %+v, want no condition", h)
	}
}

func TestANodeWithBadConditionsIsAlive(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	r := newRig(t, db, dispatch.Config{})
	p, _ := r.agent(t)
	receive(t, db.leases, "the lease of the registration")
	p.send(wire.TypeHeartbeat, "h", wire.Heartbeat{NodeID: "n1", Conditions: []api.NodeCondition{{Type: "no type"}}})
	if code := p.expectFailure(wire.TypeHeartbeat + wire.ErrorSuffix); code != string(fault.Validation) {
		t.Errorf("got %s, want VALIDATION_ERROR", code)
	}
	receive(t, db.leases, "the lease of the heartbeat")
}
