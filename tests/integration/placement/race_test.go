package placement

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/cli/manifest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// quotaOf is what a namespace with a quota counts, and what is there, seen by one
// statement.
type quotaOf struct{ UsedPods, UsedCPU, Pods, CPU, Urgent int }

const quotaSQL = `select (n.resource_usage ->> 'pods')::int, (n.resource_usage ->> 'cpu')::int, p.pods, p.cpu, p.urgent
	from public.namespaces n, (select count(*)::int as pods, coalesce(sum((resource_requests ->> 'cpu')::int), 0)::int as cpu,
		count(*) filter (where priority_class_name = 'urgent')::int as urgent
		from public.pods where namespace = 'raced' and status not in ('succeeded', 'stopped', 'failed', 'evicted')) p
	where n.name = 'raced'`

func (g *ground) quota(ctx context.Context, conn *pgx.Conn) (q quotaOf, err error) {
	err = conn.QueryRow(ctx, quotaSQL).Scan(&q.UsedPods, &q.UsedCPU, &q.Pods, &q.CPU, &q.Urgent)
	return q, err
}

// holds reports what of a quota of 20 pods, of which 5 are urgent, does not hold.
func (q quotaOf) holds() error {
	if q.UsedPods != q.Pods || q.UsedCPU != q.CPU {
		return fmt.Errorf("the namespace counts %d pods and %dm, there are %d with %dm", q.UsedPods, q.UsedCPU, q.Pods, q.CPU)
	}
	if q.Pods > 20 || q.Urgent > 5 {
		return fmt.Errorf("there are %d pods, of which %d are urgent; 20 and 5 are allowed", q.Pods, q.Urgent)
	}
	return nil
}

// Fifty at a time create and delete pods at the limit of a namespace and of a priority
// class within it, over two servers: the limits hold at every moment, what is counted is
// what is there, and at the end it is nothing.
func TestQuotasHoldInARaceOverTwoServers(t *testing.T) {
	t.Parallel()
	const parallel, rounds = 50, 6
	g := newGround(t)
	second := startServer(t, g.project, g.log)
	other := connect(t, second, g.token)
	g.given(t, classes+`{kind: Namespace, metadata: {name: raced}, spec: {resourceQuota: {hard: {pods: 20}, priorityClasses: {urgent: {pods: 5}}}}}`)
	looking, err := pgx.Connect(t.Context(), g.project.DBURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = looking.Close(context.WithoutCancel(t.Context())) }()

	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			q, err := g.quota(t.Context(), looking)
			if err = errors.Join(err, q.holds()); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var admitted, refused atomic.Int64
	var racing sync.WaitGroup
	for i := range parallel {
		racing.Go(func() {
			servers := []*client.Client{g.admin, other}
			class := []string{"", "urgent"}[i%2]
			for round := range rounds {
				p, err := servers[(i/2+round)%2].CreatePod(t.Context(), *raced(t, class).Pod)
				if fault.CodeOf(err) == fault.QuotaExceeded {
					refused.Add(1)
					continue
				}
				if err != nil {
					t.Errorf("create: %v", err)
					return
				}
				admitted.Add(1)
				if round == rounds-1 {
					return // some stay, up to the limit
				}
				if _, _, err := servers[(i/2+round+1)%2].StopPod(t.Context(), p.ID); err != nil {
					t.Errorf("stop: %v", err)
				}
			}
		})
	}
	racing.Wait()
	close(done)
	watching.Wait()
	if admitted.Load() < 20 || refused.Load() == 0 {
		t.Errorf("%d were admitted and %d refused: that was no race at the limit", admitted.Load(), refused.Load())
	}
	g.fillsUp(t, other)
	pods, err := g.admin.ListPods(t.Context(), api.PodQuery{PageQuery: api.PageQuery{PageSize: 100}, Namespace: "raced", Status: api.PodPending})
	if err != nil {
		t.Fatal(err)
	}
	var ending sync.WaitGroup
	for i, p := range pods.Items {
		ending.Go(func() {
			if _, _, err := []*client.Client{g.admin, other}[i%2].StopPod(t.Context(), p.ID); err != nil {
				t.Errorf("stop: %v", err)
			}
		})
	}
	ending.Wait()
	if q, err := g.quota(t.Context(), g.conn); err != nil || q != (quotaOf{}) {
		t.Errorf("all are stopped, and the namespace has %+v, %v", q, err)
	}
}

// fillsUp takes what the race has left of the quota: to the last pod, and no further.
func (g *ground) fillsUp(t *testing.T, other *client.Client) {
	t.Helper()
	for i := range 25 {
		_, err := []*client.Client{g.admin, other}[i%2].CreatePod(t.Context(), *raced(t, "").Pod)
		if err != nil && fault.CodeOf(err) != fault.QuotaExceeded {
			t.Fatal(err)
		}
	}
	q, err := g.quota(t.Context(), g.conn)
	if err = errors.Join(err, q.holds()); err != nil || q.Pods != 20 {
		t.Errorf("the namespace has %+v, %v; want it full", q, err)
	}
}

func raced(t *testing.T, class string) manifest.Object {
	t.Helper()
	return one(t, `{kind: Pod, metadata: {namespace: raced}, spec: {pack: web, priorityClassName: "`+class+`", resources: {requests: {cpu: 10m, memory: 16Mi}}}}`)
}
