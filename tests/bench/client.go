package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// line is one connection over which requests go one after the other, kept alive. It
// does no more than HTTP asks for: whoever asks shares the cores with what is measured,
// and the two goroutines and their hand-overs with which net/http's client serves a
// connection cost as much as a third of an answer.
type line struct {
	conn  net.Conn
	reads *bufio.Reader
	out   []byte // of the request at hand
	host  string
	token string
}

// dial opens a line to the server at a URL, for the owner of a token; over TLS where
// there is a config for it.
func dial(ctx context.Context, server, token string, secured *tls.Config) (*line, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	var dialer interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	} = &net.Dialer{Timeout: waitLimit}
	if secured != nil {
		dialer = &tls.Dialer{NetDialer: &net.Dialer{Timeout: waitLimit}, Config: secured}
	}
	conn, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	return &line{conn: conn, reads: bufio.NewReaderSize(conn, 1<<14), host: u.Host, token: token}, nil
}

func (l *line) close() { _ = l.conn.Close() }

// send sends a request and reads its answer to the end. An answer that is not a
// success is an error, and so is one that takes longer than waitLimit.
func (l *line) send(method, path string, body []byte) error {
	if err := l.conn.SetDeadline(time.Now().Add(waitLimit)); err != nil {
		return err
	}
	l.out = fmt.Appendf(l.out[:0], "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n", method, path, l.host, l.token)
	if body != nil {
		l.out = fmt.Appendf(l.out, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	l.out = append(append(l.out, "\r\n"...), body...)
	if _, err := l.conn.Write(l.out); err != nil {
		return err
	}
	resp, err := http.ReadResponse(l.reads, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		var answer bytes.Buffer
		_, _ = io.Copy(&answer, io.LimitReader(resp.Body, 1<<12)) // what there is of it is told
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, &answer)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
