package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/theory/jsonpath"

	"github.com/stark-orchestrator/stark/shared/api"
)

// What can be waited for beside the statuses.
const (
	forEnded   = "ended"
	forDeleted = "deleted"
	forDelete  = "delete" // as kubectl calls it
)

var (
	podGoals = []string{
		string(api.PodScheduled), string(api.PodRunning), string(api.PodSucceeded), string(api.PodFailed), string(api.PodStopped), string(api.PodEvicted),
		forEnded, forDeleted,
	}
	nodeGoals = []string{string(api.NodeOnline), string(api.NodeOffline), string(api.NodeUnhealthy), forDeleted}
	// podConditions are read from the status; a pod has no list of them.
	podConditions = []string{"PodScheduled", "Ready", "Complete", "Failed"}
)

// conditionReady of a node means that its agent is heard of, as in Kubernetes; a node
// has it beside the conditions that its agent reports.
const conditionReady = "Ready"

// standing is how an object stands to a goal.
type standing struct {
	now   string // what it is instead, for people
	met   bool
	never bool // it cannot be met any more
}

// goal is what --for means for one kind of object.
type goal[T any] struct {
	text      string // for people, such as "running" or "condition Ready"
	deleted   bool   // it is to be gone; judge does not count
	condition bool   // what it is now says nothing of it
	judge     func(T) standing
}

func podGoal(text string) (goal[api.Pod], error) {
	status := func(p api.Pod) (string, bool) { return string(p.Status), p.Status.Terminal() }
	g, ok, err := anyGoal(text, status, podCondition)
	switch {
	case err != nil || ok:
		return g, err
	case !slices.Contains(podGoals, text):
		return g, usagef("--for %q: of a pod want %s, condition=<type>, delete or jsonpath=<path>", text, strings.Join(podGoals, ", "))
	}
	return goal[api.Pod]{text: text, judge: func(p api.Pod) standing {
		now, ended := status(p)
		return standing{now: now, met: now == text || ended && text == forEnded, never: ended}
	}}, nil
}

func nodeGoal(text string) (goal[api.Node], error) {
	status := func(n api.Node) (string, bool) { return string(n.Status), false }
	g, ok, err := anyGoal(text, status, nodeCondition)
	switch {
	case err != nil || ok:
		return g, err
	case !slices.Contains(nodeGoals, text):
		return g, usagef("--for %q: of a node want %s, condition=<type>, delete or jsonpath=<path>", text, strings.Join(nodeGoals, ", "))
	}
	return goal[api.Node]{text: text, judge: func(n api.Node) standing {
		now, _ := status(n)
		return standing{now: now, met: now == text}
	}}, nil
}

// anyGoal reads the forms that all kinds have; ok tells that it is one of them.
func anyGoal[T any](text string, status func(T) (string, bool), condition func(kind string) (func(T) string, error)) (g goal[T], ok bool, err error) {
	if text == forDelete || text == forDeleted {
		return goal[T]{text: forDeleted, deleted: true}, true, nil
	}
	if rest, is := strings.CutPrefix(text, "condition="); is {
		kind, want, _ := strings.Cut(rest, "=")
		read, err := condition(kind)
		if err != nil {
			return g, true, err
		}
		want = strings.ToLower(orDefault(want, "true"))
		if want != "true" && want != "false" && want != "unknown" {
			return g, true, usagef("--for %q: a condition is true, false or unknown", text)
		}
		return goal[T]{text: "condition " + rest, condition: true, judge: func(o T) standing {
			now, ended := status(o)
			return standing{now: now, met: read(o) == want, never: ended}
		}}, true, nil
	}
	rest, is := strings.CutPrefix(text, "jsonpath=")
	if !is {
		return g, false, nil
	}
	match, err := parseJSONPath(rest)
	if err != nil {
		return g, true, usagef("--for %q: %v", text, err)
	}
	return goal[T]{text: rest, condition: true, judge: func(o T) standing {
		now, _ := status(o)
		return standing{now: now, met: match(o)}
	}}, true, nil
}

func podCondition(kind string) (func(api.Pod) string, error) {
	for _, known := range podConditions {
		if !strings.EqualFold(kind, known) {
			continue
		}
		return func(p api.Pod) string {
			switch {
			case p.Status == api.PodUnknown && known == conditionReady:
				return "unknown"
			case known == "PodScheduled":
				return fmt.Sprint(p.NodeID != nil)
			case known == conditionReady:
				return fmt.Sprint(p.Status == api.PodRunning)
			case known == "Complete":
				return fmt.Sprint(p.Status == api.PodSucceeded)
			default:
				return fmt.Sprint(p.Status == api.PodFailed)
			}
		}, nil
	}
	return nil, usagef("--for condition=%s: a pod has the conditions %s", kind, strings.Join(podConditions, ", "))
}

func nodeCondition(kind string) (func(api.Node) string, error) {
	if kind == "" {
		return nil, usagef("--for condition=: want a type, such as Ready or %s", api.ConditionDiskPressure)
	}
	return func(n api.Node) string {
		if strings.EqualFold(kind, conditionReady) {
			switch n.Status {
			case api.NodeOnline, api.NodeDraining, api.NodeMaintenance:
				return "true"
			case api.NodeOffline:
				return "false"
			default:
				return "unknown"
			}
		}
		for _, c := range n.Conditions {
			if strings.EqualFold(c.Type, kind) {
				return fmt.Sprint(c.Status)
			}
		}
		return "unknown"
	}, nil
}

// parseJSONPath reads kubectl's form, {.status}=running, and makes RFC 9535 of it.
// Without a value it is enough that the field is there. A path to several values, or
// to a list or an object where a value is wanted, is never met.
func parseJSONPath(text string) (func(any) bool, error) {
	path, want, valued := text, "", false
	if end := strings.LastIndex(text, "}"); end >= 0 {
		path = text[:end+1]
		if rest := text[end+1:]; rest != "" {
			if want, valued = strings.CutPrefix(rest, "="); !valued {
				return nil, fmt.Errorf("after {...} want nothing or =<value>, such as jsonpath='{.status}'=running")
			}
		}
	} else if i := strings.LastIndex(text, "="); i >= 0 {
		path, want, valued = text[:i], text[i+1:], true
	}
	if valued && want == "" {
		return nil, fmt.Errorf("the value after = is missing")
	}
	path = strings.TrimSuffix(strings.TrimPrefix(path, "{"), "}")
	if path == "" {
		return nil, fmt.Errorf("want a path such as {.status}")
	}
	if !strings.HasPrefix(path, "$") {
		if !strings.HasPrefix(path, ".") && !strings.HasPrefix(path, "[") {
			path = "." + path
		}
		path = "$" + path
	}
	p, err := jsonpath.Parse(path)
	if err != nil {
		return nil, err
	}
	return func(o any) bool {
		found := p.Select(plain(o))
		if len(found) != 1 || found[0] == nil {
			return false
		}
		if !valued {
			return true
		}
		switch v := found[0].(type) {
		case string:
			return v == want
		case map[string]any, []any:
			return false
		default:
			return fmt.Sprint(v) == want
		}
	}, nil
}

// plain gives an object as its JSON says it, with numbers as they are written.
func plain(o any) any {
	data, err := json.Marshal(o)
	if err != nil {
		return nil
	}
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil
	}
	return v
}
