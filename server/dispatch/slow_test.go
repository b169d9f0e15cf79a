package dispatch_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// crowdedRig has a watcher of all pods that has read what existed and reads no more.
func crowdedRig(t *testing.T) (*store.Store, *websocket.Conn) {
	t.Helper()
	w := newWired(t, newFakeDB())
	conn := w.dial(t, "token admin")
	w.run()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"watch","payload":{"watchId":"w","kind":"pods"}}`)); err != nil {
		t.Fatal(err)
	}
	until(t, conn, `"synced":true`)
	return w.store, conn
}

// until reads to the frame that holds a text.
func until(t *testing.T, conn *websocket.Conn, text string) {
	t.Helper()
	for {
		_, frame, err := conn.Read(t.Context())
		if err != nil {
			t.Fatalf("waited for %s: %v", text, err)
		}
		if strings.Contains(string(frame), text) {
			return
		}
	}
}

// A node that registers at a server which has just started is told of its pods when the
// server tells nodes of changes, and not before: else the end of one could be missed.
func TestNoNodeIsServedBeforeChangesAreRouted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newFakeDB()
		var asked atomic.Bool
		db.wanted = func() ([]wire.Assignment, error) {
			asked.Store(true)
			return nil, nil
		}
		w := newWired(t, db)
		conn := w.dial(t, credential)
		register, err := json.Marshal(aRegister())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, `{"type":"node:register","payload":%s}`, register)); err != nil {
			t.Fatal(err)
		}
		until(t, conn, wire.TypeConnected)
		synctest.Wait()
		if asked.Load() {
			t.Error("the wanted set was read before changes are routed")
		}
		w.run()
		until(t, conn, wire.TypeRunsSet)
	})
}

// grown is by how many bytes the heap has grown since before.
func grown(before uint64) int64 {
	return int64(heap()) - int64(before) //nolint:gosec // heaps are small
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what a finalizer held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A watcher that reads no more costs the server a bounded number of bytes, however
// much changes and however large it is, and is then disconnected.
func TestASlowReaderCostsLittleAndIsDisconnected(t *testing.T) { //nolint:paralleltest // it weighs the heap
	for _, c := range []struct {
		name                string
		size, changes, pods int
		most                int64 // bytes
	}{
		{name: "many small changes", size: 1 << 10, changes: 60_000, pods: 100, most: 16 << 20},
		{name: "some large changes", size: 200 << 10, changes: 600, pods: 600, most: 12 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, conn := crowdedRig(t)
				text := strings.Repeat("x", c.size)
				annotations := map[string]string{"big": text}
				synctest.Wait()
				before := heap()
				for i := range c.changes {
					p := api.Pod{ID: fmt.Sprintf("pod-%d", i%c.pods), Namespace: "default", Status: api.PodRunning, Annotations: annotations}
					st.Apply(store.Batch{Cursor: fmt.Sprint(i + 2), Pods: store.Changes[api.Pod]{Put: []api.Pod{p}}})
					if i%100 == 0 {
						synctest.Wait() // as much as can be sent is
					}
				}
				synctest.Wait()
				if n := grown(before); n > c.most {
					t.Errorf("%d changes of %d KiB, which nobody reads, hold %d KiB", c.changes, c.size>>10, n>>10)
				}
				time.Sleep(15 * time.Second) // a frame may take 10 s
				var frames int
				for {
					_, _, err := conn.Read(t.Context())
					if err != nil {
						break
					}
					frames++
				}
				if frames >= c.changes {
					t.Errorf("the reader was sent all of %d frames", frames)
				}
			})
		})
	}
}
