package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/watch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// watched is a watch as its reader sees it.
type watched struct {
	tb   testing.TB
	next func() (wire.WatchEvent, error, bool)
	last string // the newest cursor
}

func watchAs(tb testing.TB, db *postgres.DB, s *store.Store, id access.Identity, r watch.Request) *watched {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	events := must(watch.Source{Store: s, Log: db}.Open(ctx, func() access.Identity { return id }, r))(tb)
	next, stop := iter.Pull2(events)
	tb.Cleanup(func() { cancel(); stop() })
	return &watched{tb: tb, next: next, last: r.Since}
}

// until collects "put <id> <status>" and "delete <id>" up to and with the wanted one.
func (w *watched) until(wanted string) []string {
	w.tb.Helper()
	var got []string
	for {
		e, err, more := w.next()
		if err != nil || !more {
			w.tb.Fatalf("the watch ended after %q, waiting for %q: %v", got, wanted, err)
		}
		if e.Cursor != "" {
			w.last = e.Cursor
		}
		text := "synced"
		if e.Event != wire.EventBookmark {
			var p api.Pod
			if err := json.Unmarshal(e.Object, &p); err != nil {
				w.tb.Fatal(err)
			}
			text = strings.TrimSpace(e.Event + " " + p.ID + " " + string(p.Status))
		}
		got = append(got, text)
		if text == wanted {
			return got
		}
	}
}

// Whoever goes on from a cursor, on any server, hears of everything that has changed
// since and of nothing else, and of nothing that they may not see.
func TestAWatchGoesOnWithoutAGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dev, other := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper)
	pack, foreign := w.pack(t, dev, "app", "1.0.0"), w.pack(t, other, "foreign", "1.0.0")
	stays, changes, goes := w.pod(t, dev, pack.ID), w.pod(t, dev, pack.ID), w.pod(t, dev, pack.ID)
	hidden := w.pod(t, other, foreign.ID)
	here := feed(t, w.DB)
	request := watch.Request{Kind: watch.Pods}
	first := watchAs(t, w.DB, here, dev, request)
	if got := first.until("synced"); len(got) != 4 {
		t.Fatalf("the watch began with %q", got)
	}
	page := must(w.ListPods(t.Context(), dev, api.PodQuery{}))(t)
	if page.Cursor == "" || first.last == "" {
		t.Fatalf("no cursor: %q and %q", page.Cursor, first.last)
	}

	stop := func(id access.Identity, p api.Pod) {
		t.Helper()
		if _, _, err := w.StopPod(t.Context(), id, p.ID); err != nil {
			t.Fatal(err)
		}
	}
	stop(dev, changes)
	stop(dev, goes)
	stop(dev, goes) // of one that has ended: it is removed
	stop(other, hidden)
	stop(other, hidden)
	created := w.pod(t, dev, pack.ID)

	elsewhere := open(t, postgres.Config{URL: w.at.URL})
	there := feed(t, elsewhere)
	for name, cursor := range map[string]string{"of a watch": first.last, "of a list": page.Cursor} {
		request.Since = cursor
		again := watchAs(t, elsewhere, there, dev, request)
		got := again.until("synced")
		if len(got) != 4 {
			t.Errorf("%s: got %q", name, got)
		}
		told := strings.Join(got, ", ")
		for _, want := range []string{"put " + changes.ID + " stopped", "put " + created.ID + " pending", "delete " + goes.ID} {
			if !strings.Contains(told, want) {
				t.Errorf("%s: %q lacks %q", name, told, want)
			}
		}
		if strings.Contains(told, stays.ID) || strings.Contains(told, hidden.ID) {
			t.Errorf("%s: %q tells what has not changed, or is another's", name, told)
		}
		if again.last == cursor {
			t.Errorf("%s: no new cursor", name)
		}
	}
	// The first watch went on all the time, in the order of the changes.
	live := strings.Join(first.until("put "+created.ID+" pending"), ", ")
	if !strings.Contains(live, "put "+changes.ID+" stopped") || !strings.Contains(live, "delete "+goes.ID) || strings.Contains(live, hidden.ID) {
		t.Errorf("the first watch told %q", live)
	}
}

func TestACursorThatIsWorthNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dev := w.user(t, api.RoleDeveloper)
	s := feed(t, w.DB)
	good := must(w.ListPods(t.Context(), dev, api.PodQuery{}))(t).Cursor
	parts := strings.SplitN(good, ".", 3)
	old := strconv.FormatInt(time.Now().Add(-10*time.Minute).UnixMilli(), 10)
	source := watch.Source{Store: s, Log: w.DB}
	refused := func(name, cursor string, want fault.Code) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := source.Open(ctx, func() access.Identity { return dev }, watch.Request{Kind: watch.Pods, Since: cursor})
		if got := fault.CodeOf(err); got != want {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, want)
		}
		if err == nil || !strings.Contains(err.Error(), "since: ") {
			t.Errorf("%s: %v does not name the field", name, err)
		}
	}
	refused("too old", old+"."+parts[1]+"."+parts[2], fault.Gone)
	refused("of another life", parts[0]+".1."+parts[2], fault.Gone)
	refused("ahead of everything", parts[0]+"."+parts[1]+".99999999999999999999:99999999999999999999:", fault.Gone)
	for name, cursor := range map[string]string{
		"a word": "x", "a number": "17", "no snapshot": parts[0] + "." + parts[1] + ".", "not a snapshot": parts[0] + "." + parts[1] + ".1:2",
		"SQL": parts[0] + "." + parts[1] + ".1:2:'", "backwards": parts[0] + "." + parts[1] + ".9:2:", "no transaction": parts[0] + "." + parts[1] + ".3:9:0", "huge": good + strings.Repeat(",1", 10_000),
	} {
		refused(name, cursor, fault.Validation)
	}
	// Who has gained or lost a right sees other objects than before.
	w.exec(t, "insert into public.user_roles (user_id, role) values ($1, 'operator')", dev.UserID)
	refused("from before a right", good, fault.Gone)
}

// Many watches go on at once when a server has started again, and nobody has looked at the
// log since it was written: none of them may read all of it.
func TestAWatchThatGoesOnReadsNoMoreThanIsNew(t *testing.T) {
	t.Parallel()
	const before, since = 20_000, 3
	w := newWorld(t)
	w.exec(t, "alter table stark.change_log set (autovacuum_enabled = off)")
	w.exec(t, `insert into stark.change_log (xid, kind, ids, op)
		select i::text::xid8, 'pod', array[gen_random_uuid()::text], 'U' from generate_series(1, $1) i`, before)
	cursor := fmt.Sprintf("%[1]d:%[1]d:", before-since+1)
	for name, sql := range map[string]string{"rights": postgres.RightsSinceSQL, "kind": postgres.KindSinceSQL} {
		args := []any{cursor, "pod", "nobody"}[:2+strings.Count(sql, "$3")]
		text := value[string](t, w, "explain (analyze, timing off, costs off, summary off, format json) "+sql, args...)
		for _, wrong := range []string{"Seq Scan", "Workers"} {
			if strings.Contains(text, wrong) {
				t.Errorf("%s: %s in\n%s", name, wrong, text)
			}
		}
	}
}
