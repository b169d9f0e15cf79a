package cli

import (
	"strconv"
	"strings"

	"github.com/stark-orchestrator/stark/shared/api"
)

// placeFlags are short forms of affinities and spread constraints; what they cannot say
// is said in a file.
type placeFlags struct {
	near, away, spread []string
}

// apply adds what the flags say to what a file may have said.
func (f placeFlags) apply(r *api.CreatePodRequest) error {
	if len(f.near)+len(f.away)+len(f.spread) == 0 {
		return nil
	}
	if r.Scheduling == nil {
		r.Scheduling = &api.Scheduling{}
	}
	s := r.Scheduling
	for _, c := range []struct {
		flag   string
		values []string
		to     **api.PodAffinity
	}{{"--pod-affinity", f.near, &s.PodAffinity}, {"--anti-affinity", f.away, &s.PodAntiAffinity}} {
		for _, v := range c.values {
			t, err := parsePodTerm(c.flag, v)
			if err != nil {
				return err
			}
			if *c.to == nil {
				*c.to = &api.PodAffinity{}
			}
			(*c.to).Required = append((*c.to).Required, t)
		}
	}
	for _, v := range f.spread {
		t, err := parseSpread(v, r.Labels)
		if err != nil {
			return err
		}
		s.TopologySpreadConstraints = append(s.TopologySpreadConstraints, t)
	}
	return nil
}

// parsePodTerm reads labels@topology key, such as app=web,tier=front@zone.
func parsePodTerm(flag, text string) (api.PodAffinityTerm, error) {
	selector, key, ok := strings.Cut(text, "@")
	if !ok || selector == "" || key == "" {
		return api.PodAffinityTerm{}, usagef("%s %q: want key=value[,key=value]@label of nodes, such as app=web@zone", flag, text)
	}
	labels, err := parsePairs(flag, strings.Split(selector, ","))
	return api.PodAffinityTerm{LabelSelector: &api.LabelSelector{MatchLabels: labels}, TopologyKey: key}, err
}

// parseSpread reads topology key[:max skew][:soft]. It spreads the pods that have all
// the labels that the pod itself has.
func parseSpread(text string, labels map[string]string) (api.TopologySpreadConstraint, error) {
	parts := strings.Split(text, ":")
	c := api.TopologySpreadConstraint{
		TopologyKey: parts[0], MaxSkew: 1, WhenUnsatisfiable: api.DoNotSchedule, LabelSelector: &api.LabelSelector{MatchLabels: labels},
	}
	rest := parts[1:]
	if last := len(rest) - 1; last >= 0 && rest[last] == "soft" {
		c.WhenUnsatisfiable, rest = api.ScheduleAnyway, rest[:last]
	}
	wrong := parts[0] == "" || len(rest) > 1
	for _, p := range rest {
		n, err := strconv.Atoi(p)
		wrong = wrong || err != nil || n < 1
		c.MaxSkew = n
	}
	if wrong {
		return c, usagef("--spread %q: want label of nodes[:most pods of difference][:soft], such as zone or zone:2:soft", text)
	}
	if len(labels) == 0 {
		return c, usagef("--spread %q: which pods? Give this one labels, with -l app=web", text)
	}
	return c, nil
}
