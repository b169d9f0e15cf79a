package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// kubeClients is how many connections fill a cluster of Kubernetes.
const kubeClients = 64

const kubePods = "/api/v1/namespaces/default/pods"

// kubeAlone measures a control plane that has nothing to do.
func (b *bench) kubeAlone() stage {
	var k *kube
	return stage{name: "Kubernetes", open: b.kubeOpener(&k, 0), steps: []step{
		{keys: []string{"kube.rss.empty"}, measure: func(ctx context.Context) error {
			pause(ctx, 5*time.Second) // until it has started all that it starts
			return b.kubeHolds("kube.rss.empty", "no nodes and no pods", k)
		}},
	}}
}

// kubeThousand measures Kubernetes where Stark has its rows on 1,000 nodes.
func (b *bench) kubeThousand() stage {
	var k *kube
	return stage{name: "Kubernetes with 1,000 nodes", open: b.kubeOpener(&k, 1000), steps: append([]step{
		{keys: []string{"kube.latency"}, measure: func(ctx context.Context) error { return b.kubeLatency(ctx, k) }},
		b.kubeBound("kube.bound.1k", 1000, &k),
	}, append(b.kubeREST(&k),
		step{keys: []string{"kube.ready"}, measure: func(ctx context.Context) error { return b.kubeReady(ctx, k) }})...)}
}

// kubeFiveThousand does so with 5,000.
func (b *bench) kubeFiveThousand() stage {
	var k *kube
	return stage{name: "Kubernetes with 5,000 nodes", open: b.kubeOpener(&k, 5000), steps: []step{
		b.kubeBound("kube.bound.5k", 5000, &k),
		{keys: []string{"kube.rss"}, measure: func(ctx context.Context) error {
			if err := k.crowd(ctx, nil); err != nil {
				return err
			}
			return b.kubeHolds("kube.rss", "5,000 nodes and 10,000 bound pods", k)
		}},
	}}
}

func (b *bench) kubeOpener(k **kube, nodes int) func(ctx context.Context) (func(), error) {
	return func(ctx context.Context) (func(), error) {
		opened, err := b.openKube(ctx)
		*k = opened
		if err == nil {
			all := crowd(nodes, 0).Nodes
			err = opened.all(ctx, nodes, kubeClients, func(i int) (string, string, []byte) {
				return http.MethodPost, "/api/v1/nodes", kubeBody(kubeNode(all[i]))
			})
		}
		return opened.close, err
	}
}

func (b *bench) kubeHolds(key, setup string, k *kube) error {
	api, scheduler, etcd, err := k.memory()
	if err != nil {
		return err
	}
	b.figures[key] = figure{
		Value: api + scheduler, Unit: "MiB",
		Setup: fmt.Sprintf("resident memory with %s: kube-apiserver %.0f and kube-scheduler %.0f; etcd, which has %.0f, is left out as Postgres is", setup, api, scheduler, etcd),
	}
	return nil
}

// pod gives the request for one of a crowd.
func (k *kube) pod(i int) (method, path string, body []byte) {
	p := mixedPod(i)
	p.Labels = maps.Clone(p.Labels)
	p.Labels["shard"] = fmt.Sprintf("s%d", i%shards)
	return http.MethodPost, kubePods, kubeBody(kubePod(fmt.Sprintf("pod-%06d", i), p))
}

// crowd has boundPods bound pods where there are none yet. They are made while the
// scheduler is down; seen, if there is one, is told of each that is bound.
func (k *kube) crowd(ctx context.Context, seen func(n int) error) error {
	if k.crowded {
		return nil
	}
	k.scheduler.Kill() // it keeps nothing
	if err := k.all(ctx, boundPods, kubeClients, k.pod); err != nil {
		return err
	}
	w, err := k.watchBound(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	pause(ctx, 3*time.Second) // until etcd and the server have ended what they do behind their answers
	if err := k.startScheduler(ctx); err != nil {
		return err
	}
	for n := 1; n <= boundPods; n++ {
		if _, err := w.next(); err != nil {
			return fmt.Errorf("%d of %d pods are bound: %w\n%s", n-1, boundPods, err, k.scheduler.Output())
		}
		if seen != nil {
			if err := seen(n); err != nil {
				return err
			}
		}
	}
	k.crowded = true
	return nil
}

// kubeBound measures the binding of a crowd, from the first pod that a watcher sees bound
// until the last: a scheduler that starts reads all of it in before, which Stark's had
// while it was written.
func (b *bench) kubeBound(key string, nodes int, k **kube) step {
	return step{keys: []string{key, key + ".cpu"}, measure: func(ctx context.Context) error {
		k := *k
		var begin, end time.Time
		var control, etcd time.Duration
		if err := k.crowd(ctx, func(n int) (err error) {
			switch n {
			case 1:
				begin = time.Now()
				control, etcd, err = k.cpu()
			case boundPods:
				end = time.Now()
			}
			return err
		}); err != nil {
			return err
		}
		pause(ctx, time.Second)
		controlNow, etcdNow, err := k.cpu()
		if err != nil {
			return err
		}
		control, etcd = controlNow-control, etcdNow-etcd
		b.figures[key] = figure{
			Value: (boundPods - 1) / end.Sub(begin).Seconds(), Unit: "pods/s",
			Setup: fmt.Sprintf("Kubernetes %s, limits of its clients lifted, %d pods there before the scheduler, from the first to the last that a watcher sees bound, on %d nodes, load average %s", kubeVersion, boundPods, nodes, load()),
		}
		each := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / boundPods }
		b.figures[key+".cpu"] = figure{
			Value: each(control + etcd), Unit: "ms",
			Setup: fmt.Sprintf("CPU for each bound pod until a second after the last: kube-apiserver and kube-scheduler %.3f ms, etcd %.3f ms", each(control), each(etcd)),
		}
		return nil
	}}
}

// kubeLatency does what scheduleLatency does.
func (b *bench) kubeLatency(ctx context.Context, k *kube) error {
	w, err := k.watchBound(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	const warm = latencyRate
	n := warm + b.times(latencyPods/2, latencyPods)
	acked := make([]time.Time, n)
	errs := make([]error, n)
	lines := make(chan *line, kubeClients)
	for range kubeClients {
		l, err := k.dial(ctx)
		if err != nil {
			return err
		}
		defer l.close()
		lines <- l
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second / latencyRate)
		defer tick.Stop()
		for i := range n {
			wg.Go(func() {
				l := <-lines
				_, path, body := k.pod(i)
				errs[i] = l.send(http.MethodPost, path, body)
				acked[i] = time.Now()
				lines <- l
			})
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	bound := map[string]time.Time{}
	for len(bound) < n {
		name, err := w.next()
		if err != nil {
			return fmt.Errorf("%d of %d pods are bound: %w\n%s", len(bound), n, err, k.scheduler.Output())
		}
		bound[name] = time.Now()
	}
	wg.Wait()
	var samples []time.Duration
	for i := warm; i < n; i++ {
		if errs[i] != nil {
			return fmt.Errorf("create %d: %w", i, errs[i])
		}
		samples = append(samples, max(bound[fmt.Sprintf("pod-%06d", i)].Sub(acked[i]), 0))
	}
	b.latencies("kube.latency", fmt.Sprintf("Kubernetes %s, %d creates a second, 1,000 nodes, answer received until a watcher sees the pod bound, load average %s", kubeVersion, latencyRate, load()), samples)
	return k.all(ctx, n, kubeClients, func(i int) (string, string, []byte) {
		return http.MethodDelete, fmt.Sprintf("%s/pod-%06d?gracePeriodSeconds=0", kubePods, i), nil
	})
}

// kubeREST are the rows of rest by the same requests, as an admin, whom Kubernetes' limits
// of requests in flight do not touch.
func (b *bench) kubeREST(k **kube) []step {
	requests := func(key, setup string, clients int, pace rate.Limit, next func(i int) (method, path string, body []byte)) step {
		return step{keys: []string{key}, measure: func(ctx context.Context) error {
			k := *k
			if err := k.crowd(ctx, nil); err != nil {
				return err
			}
			l := &requests{
				url: k.url, token: k.token, tls: k.tls, lasts: b.loadLasts(), store: "etcd", clients: clients, pace: pace,
				server:   func() (time.Duration, error) { control, _, err := k.cpu(); return control, err },
				database: func() (time.Duration, error) { _, etcd, err := k.cpu(); return etcd, err },
			}
			sum, err := l.run(ctx, next)
			if err == nil {
				b.burdened(key, "Kubernetes "+kubeVersion+", "+setup, sum, pace == 0)
			}
			return err
		}}
	}
	var made atomic.Int64
	return []step{
		requests("kube.read", "GET of one of 10,000 pods, 32 clients", 32, 0, func(i int) (string, string, []byte) {
			return http.MethodGet, fmt.Sprintf("%s/pod-%06d", kubePods, i%boundPods), nil
		}),
		requests("kube.list", "100 of 10,000 pods by a label, 200 requests a second", 32, 200, func(i int) (string, string, []byte) {
			return http.MethodGet, fmt.Sprintf("%s?limit=100&labelSelector=shard%%3Ds%d", kubePods, i%shards), nil
		}),
		requests("kube.create", "POST of a pod, 128 clients, 1,000 nodes, scheduler binding", 128, 0, func(int) (string, string, []byte) {
			p := mixedPod(1)
			p.ResourceRequests.CPU, p.ResourceRequests.Memory = 10, 16
			return http.MethodPost, kubePods, kubeBody(kubePod(fmt.Sprintf("load-%d", made.Add(1)), p))
		}),
	}
}

// kubeReady measures the start of kube-apiserver on a full database. The scheduler, which
// is a process of its own, is left out.
func (b *bench) kubeReady(ctx context.Context, k *kube) error {
	if err := k.crowd(ctx, nil); err != nil {
		return err
	}
	var samples []time.Duration
	for range b.times(3, 5) {
		k.api.Kill() // the scheduler's watches would keep it from ending
		settle(ctx)
		begin := time.Now()
		if err := k.startAPI(ctx); err != nil {
			return err
		}
		samples = append(samples, time.Since(begin))
	}
	b.median("kube.ready", "kube-apiserver "+kubeVersion+", process start to /readyz, 1,000 nodes and at least 10,000 pods in etcd", samples)
	return nil
}

// boundWatch tells of pods that are bound, one after another.
type boundWatch struct {
	line   *line
	body   io.Closer
	events *json.Decoder
	stop   func() bool
}

// watchBound watches the pods that have a node, without their contents.
func (k *kube) watchBound(ctx context.Context) (*boundWatch, error) {
	l, err := k.dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, l.close)
	fail := func(err error) (*boundWatch, error) {
		stop()
		l.close()
		return nil, err
	}
	if _, err := fmt.Fprintf(l.conn, "GET %s?watch=1&timeoutSeconds=3600&fieldSelector=spec.nodeName!%%3D HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nAccept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io\r\n\r\n", kubePods, l.host, l.token); err != nil {
		return fail(err)
	}
	resp, err := http.ReadResponse(l.reads, nil)
	if err != nil {
		return fail(err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return fail(fmt.Errorf("watching pods: %s", resp.Status))
	}
	return &boundWatch{line: l, body: resp.Body, events: json.NewDecoder(bufio.NewReader(resp.Body)), stop: stop}, nil
}

func (w *boundWatch) close() {
	w.stop()
	w.line.close() // first: the body would be read to its end
	_ = w.body.Close()
}

// next waits for the next pod that is bound, at most waitLimit, and gives its name.
func (w *boundWatch) next() (string, error) {
	if err := w.line.conn.SetReadDeadline(time.Now().Add(waitLimit)); err != nil {
		return "", err
	}
	for {
		var event struct {
			Type   string
			Object struct {
				Metadata struct{ Name string }
			}
		}
		if err := w.events.Decode(&event); err != nil {
			return "", err
		}
		if event.Type == "ADDED" {
			return event.Object.Metadata.Name, nil
		}
		if !slices.Contains([]string{"MODIFIED", "DELETED", "BOOKMARK"}, event.Type) {
			return "", fmt.Errorf("the watch tells %q", event.Type)
		}
	}
}
