package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// bulk measures one request that asks for many pods, from its start until all are bound.
func (b *bench) bulk(ctx context.Context, f *field, l *requests) error {
	const key = "rest.create.bulk"
	body, err := bulkBody()
	if err != nil {
		return err
	}
	c, err := dial(ctx, l.url, l.token, nil)
	if err != nil {
		return err
	}
	defer c.close()
	var answers, bound []time.Duration
	var server, postgres time.Duration
	for range b.times(3, 5) {
		if err := f.clear(ctx); err != nil {
			return err
		}
		before, err := l.cpu()
		if err != nil {
			return err
		}
		begin := time.Now()
		if err := c.send(http.MethodPost, "/api/pods/bulk", body); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		answers = append(answers, time.Since(begin))
		if err := f.allBound(ctx); err != nil {
			return err
		}
		bound = append(bound, time.Since(begin))
		after, err := l.cpu()
		if err != nil {
			return err
		}
		server, postgres = server+after.server-before.server, postgres+after.database-before.database
	}
	n := float64(api.MaxBulkPods)
	slices.Sort(answers)
	slices.Sort(bound)
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / n / float64(len(bound)) }
	b.figures[key] = figure{
		Value: n / bound[len(bound)/2].Seconds(), Unit: "pods/s",
		Setup: fmt.Sprintf("%.0f pods in one request of a developer with a quota, until all are bound to 1,000 nodes; median of %d (%.0f to %.0f); the answer came after %d ms; CPU of each pod: server %.0f us, Postgres %.0f us; load average %s",
			n, len(bound), n/bound[len(bound)-1].Seconds(), n/bound[0].Seconds(), answers[len(answers)/2].Milliseconds(), each(server), each(postgres), load()),
	}
	return nil
}

// bulkBody asks for as many pods as one request may.
func bulkBody() ([]byte, error) {
	cpu, memory := api.Millicores(10), api.Mebibytes(16)
	r := api.CreatePodsRequest{Items: make([]api.CreatePodRequest, api.MaxBulkPods)}
	for i := range r.Items {
		r.Items[i] = api.CreatePodRequest{
			PackName: "pack0", PackVersion: "1.0.0", Namespace: "load", Labels: map[string]string{"app": "load"},
			ResourceRequests: &api.ResourceInput{CPU: &cpu, Memory: &memory},
		}
	}
	return json.Marshal(r)
}
