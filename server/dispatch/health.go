package dispatch

import (
	"context"
	"log/slog"
	"slices"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func (s *session) onHealth(nodeID string, h wire.Heartbeat) error {
	if err := api.ValidateConditions(h.Conditions); err != nil {
		return err
	}
	if h.Usage != nil {
		if err := h.Usage.Validate(); err != nil {
			return err
		}
	}
	s.d.tell(s, nodeID, h.Conditions, h.Usage)
	return nil
}

// tell keeps what is news of a node's health for the next flush. Conditions are news
// when they are not what this session has told before: every heartbeat repeats them.
func (d *Dispatcher) tell(s *session, nodeID string, conditions []api.NodeCondition, usage *api.NodeUsage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nodes[nodeID] != s {
		return
	}
	h := d.health[nodeID]
	h.NodeID, h.Session = nodeID, s.id
	if conditions != nil && (s.conditions == nil || !slices.EqualFunc(conditions, s.conditions, sameCondition)) {
		h.Conditions, s.conditions = conditions, conditions
	}
	if usage != nil {
		h.Usage = usage
	}
	if h.Conditions != nil || h.Usage != nil {
		d.health[nodeID] = h
	}
}

func sameCondition(a, b api.NodeCondition) bool {
	return a.Type == b.Type && a.Status == b.Status && a.Reason == b.Reason && a.Message == b.Message
}

// flushHealth stores what was told since the last time, in one statement. What fails
// is stored with the next: figures of old are no loss, conditions would be.
func (d *Dispatcher) flushHealth(ctx context.Context) {
	d.mu.Lock()
	health := d.health
	d.health = make(map[string]NodeHealth, len(health))
	d.mu.Unlock()
	if len(health) == 0 {
		return
	}
	all := make([]NodeHealth, 0, len(health))
	for _, h := range health {
		all = append(all, h)
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := d.DB.StoreHealth(call, all)
	if err == nil {
		return
	}
	d.log.WarnContext(ctx, "the health of nodes could not be stored", slog.Any("error", err), slog.Int("nodes", len(all)))
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, old := range health {
		now := d.health[id]
		if s := d.nodes[id]; s == nil || s.id != old.Session || now.Conditions != nil || old.Conditions == nil {
			continue
		}
		now.NodeID, now.Session, now.Conditions = id, old.Session, old.Conditions
		d.health[id] = now
	}
}
