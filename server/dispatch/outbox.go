package dispatch

import (
	"context"
	"sync"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	outQueue = 512     // frames that wait for one socket
	outBytes = 4 << 20 // of them together; the last one may go beyond
)

// goodbye is how a session ends from our side.
type goodbye struct {
	code   websocket.StatusCode
	reason string
}

// outbox holds what waits for one socket. Most sockets have nothing to say most of the
// time, so a writer is there only while there is something to write.
type outbox struct {
	room chan struct{} // holds one; wakes who waits for room

	mu      sync.Mutex
	frames  [][]byte
	held    int64    // bytes of frames and of the one that is written
	bye     *goodbye // the first one; nothing is written after it
	writing bool     // a writer is there, or none will be any more
	writer  func()   // starts one; nil while there is no connection
}

func newOutbox() *outbox { return &outbox{room: make(chan struct{}, 1)} }

// open says how a writer is started, which runs until take gives it nothing.
func (o *outbox) open(writer func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writer = writer
	if len(o.frames) > 0 || o.bye != nil {
		o.start()
	}
}

// start needs the lock.
func (o *outbox) start() {
	if !o.writing && o.writer != nil {
		o.writing = true
		o.writer()
	}
}

func (o *outbox) hasRoom() bool { return o.held < outBytes && len(o.frames) < outQueue }

// put takes a frame in, where there is room.
func (o *outbox) put(frame []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.hasRoom() {
		return false
	}
	o.frames = append(o.frames, frame)
	o.held += int64(len(frame))
	o.start()
	return true
}

// offer takes a frame in when there is room, and waits for it until gone is closed.
func (o *outbox) offer(gone <-chan struct{}, frame []byte) bool {
	for !o.put(frame) {
		select {
		case <-o.room:
		case <-gone:
			return false
		}
	}
	o.wake() // there may be room for one more who waits
	return true
}

// take gives the next frame to the only writer, or the goodbye; neither means that the
// writer is to end.
func (o *outbox) take() (frame []byte, bye *goodbye) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bye != nil {
		return nil, o.bye
	}
	if frame = o.shift(); frame == nil {
		o.writing = false
	}
	return frame, nil
}

// rest gives one of the frames that are left when the goodbye is said.
func (o *outbox) rest() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.shift()
}

// shift needs the lock.
func (o *outbox) shift() []byte {
	if len(o.frames) == 0 {
		return nil
	}
	frame := o.frames[0]
	o.frames[0] = nil
	if o.frames = o.frames[1:]; len(o.frames) == 0 {
		o.frames = nil // what a burst has needed is not kept for a quiet socket
	}
	return frame
}

// release gives the room of a frame back.
func (o *outbox) release(frame []byte) {
	o.mu.Lock()
	o.held -= int64(len(frame))
	o.mu.Unlock()
	o.wake()
}

func (o *outbox) wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.hasRoom() {
		select {
		case o.room <- struct{}{}:
		default:
		}
	}
}

// leave has the writer say goodbye; the first one counts.
func (o *outbox) leave(g goodbye) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bye == nil {
		o.bye = &g
		o.start()
	}
}

// bytes are those that wait.
func (o *outbox) bytes() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.held
}

// write is the only writer of ordinary frames; it ends when there is nothing to write.
func (s *session) write(ctx context.Context) error {
	for ctx.Err() == nil {
		frame, bye := s.out.take()
		switch {
		case bye != nil:
			s.leaveWith(ctx, *bye)
			return errEnded
		case frame == nil:
			return nil
		}
		if err := s.writeFrame(ctx, frame); err != nil {
			return err
		}
		s.out.release(frame)
	}
	return context.Cause(ctx)
}

func (s *session) writeFrame(ctx context.Context, frame []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, frame)
}

// leaveWith is the writer's last act.
func (s *session) leaveWith(ctx context.Context, g goodbye) {
	ctx, cancel := context.WithTimeout(ctx, goodbyeTimeout)
	defer cancel()
	s.send(wire.TypeDisconnect, map[string]string{"reason": g.reason})
	for frame := s.out.rest(); frame != nil; frame = s.out.rest() {
		if s.conn.Write(ctx, websocket.MessageText, frame) != nil {
			break
		}
	}
	_ = s.conn.Close(g.code, g.reason) // the peer may be gone already
	s.stop(errEnded)
}
