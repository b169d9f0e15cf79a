package relay_test

import (
	"context"
	"io"
	"iter"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/server/relay"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// piped lets a relay reach a handler over a pipe, so that time can be a test's.
type piped struct {
	conns chan net.Conn
}

func (p piped) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p piped) Close() error   { return nil }
func (p piped) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// A stream that says nothing for long beats, and so lives; a peer that freezes is found
// out.
func TestBeatsAndSilence(t *testing.T) {
	t.Parallel()
	for name, frozen := range map[string]bool{"quiet": false, "frozen": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := piped{conns: make(chan net.Conn, 1)}
				db := &passes{address: "http://peer"}
				quiet := source(func(ctx context.Context, _ string, _ wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
					return func(yield func(wire.LogsChunk, error) bool) {
						select {
						case <-time.After(time.Hour):
							yield(chunk("late"), nil)
						case <-ctx.Done():
						}
					}
				})
				var handler http.Handler = newRelay(t, db, quiet, 0)
				if frozen {
					handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						_, _ = io.Copy(io.Discard, r.Body)
						_ = http.NewResponseController(w).Flush()
						<-r.Context().Done()
					})
				}
				srv := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
				done := make(chan struct{})
				go func() {
					defer close(done)
					_ = srv.Serve(l)
				}()
				r := relay.NewOver(loggingtest.New(t).Logger, db, source(away), func(context.Context, string, string) (net.Conn, error) {
					here, there := net.Pipe()
					l.conns <- there
					return here, nil
				})
				began := time.Now()
				texts, err := collect(t.Context(), r, wire.LogsOpen{PodID: "pod", Follow: true})
				took := time.Since(began)
				if frozen && (fault.CodeOf(err) != fault.Unavailable || took != 30*time.Second) {
					t.Errorf("frozen: %v after %s", err, took)
				}
				if !frozen && (err != nil || len(texts) != 1 || took != time.Hour) {
					t.Errorf("quiet: %v, %v after %s", texts, err, took)
				}
				close(l.conns)
				_ = srv.Close()
				<-done
				r.CloseIdle()
			})
		})
	}
}
