package cli

import (
	"encoding/json"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestPlaceFlags(t *testing.T) {
	t.Parallel()
	r := api.CreatePodRequest{PackName: "web", Labels: map[string]string{"app": "web"}}
	f := placeFlags{near: []string{"app=cache@zone"}, away: []string{"app=web,tier=front@host"}, spread: []string{"zone", "rack:3:soft"}}
	if err := f.apply(&r); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(r.Scheduling)
	want := `{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"app":"cache"}},"topologyKey":"zone"}]},` +
		`"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"app":"web","tier":"front"}},"topologyKey":"host"}]},` +
		`"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"web"}}},` +
		`{"maxSkew":3,"topologyKey":"rack","whenUnsatisfiable":"ScheduleAnyway","labelSelector":{"matchLabels":{"app":"web"}}}]}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	for _, f := range []placeFlags{
		{near: []string{"app=web"}},
		{away: []string{"@zone"}},
		{away: []string{"web@zone"}},
		{near: []string{"app=web@"}},
		{spread: []string{""}},
		{spread: []string{"zone:0"}},
		{spread: []string{"zone:much"}},
		{spread: []string{"zone:1:soft:2"}},
		{spread: []string{"zone:2:3"}},
		{spread: []string{"zone:soft:soft"}},
	} {
		r := api.CreatePodRequest{Labels: map[string]string{"app": "web"}}
		if err := f.apply(&r); err == nil {
			t.Errorf("%+v was taken", f)
		}
	}
	if err := (placeFlags{spread: []string{"zone"}}).apply(&api.CreatePodRequest{}); err == nil {
		t.Error("spread without labels, over nothing, was taken")
	}
}
