package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"golang.org/x/term"
)

// input is stdin: read line by line, or asked for at a terminal.
type input struct {
	source io.Reader
	lines  *bufio.Reader
}

func newInput(r io.Reader) *input { return &input{source: r, lines: bufio.NewReader(r)} }

// terminal gives the file behind stdin when somebody sits before it.
func (in *input) terminal() (*os.File, bool) {
	f, ok := in.source.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// maxLine bounds a line of stdin, in bytes.
const maxLine = 64 << 10

// line reads one line without its end.
func (in *input) line() (string, error) {
	var b strings.Builder
	for {
		c, err := in.lines.ReadByte()
		if errors.Is(err, io.EOF) && b.Len() > 0 || c == '\n' {
			return strings.TrimSuffix(b.String(), "\r"), nil
		}
		if err != nil {
			return "", err
		}
		if b.Len() == maxLine {
			return "", errors.New("the line is too long")
		}
		b.WriteByte(c)
	}
}

// await gives a line, or ends with ctx: a read of stdin cannot be broken off.
func (in *input) await(ctx context.Context) (string, error) { return await(ctx, in.line) }

func await(ctx context.Context, read func() (string, error)) (string, error) {
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := read()
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		return a.text, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// ask asks for a line at a terminal; flag names what to give where there is none.
func (a *app) ask(ctx context.Context, question, flag string) (string, error) {
	if _, ok := a.stdin.terminal(); !ok {
		return "", usagef("%s is needed: there is no terminal to ask at", flag)
	}
	fmt.Fprintf(a.stderr, "%s: ", question)
	answer, err := a.stdin.await(ctx)
	return strings.TrimSpace(answer), err
}

// confirm asks whether to go on; without a terminal the flag must say so.
func (a *app) confirm(ctx context.Context, question string) error {
	answer, err := a.ask(ctx, question+" [y/N]", "--force")
	if err != nil {
		return err
	}
	if answer = strings.ToLower(answer); answer != "y" && answer != "yes" {
		return errors.New("not confirmed: nothing was changed")
	}
	return nil
}

// secret says where a secret comes from: never from an argument, which every
// process on the machine can read.
type secret struct {
	question string
	env      string
	stdin    bool   // the flag was given
	flag     string // name of the flag
	repeat   bool   // ask twice
}

func (a *app) secret(ctx context.Context, s secret) (string, error) {
	if s.stdin {
		v, err := a.stdin.await(ctx)
		if err != nil {
			return "", fmt.Errorf("read %s from stdin: %w", s.flag, err)
		}
		return v, nil
	}
	if v := a.getenv(s.env); v != "" {
		return v, nil
	}
	f, ok := a.stdin.terminal()
	if !ok {
		return "", usagef("set %s or give --%s: there is no terminal to ask at", s.env, s.flag)
	}
	v, err := a.hidden(ctx, f, s.question)
	if err != nil || !s.repeat {
		return v, err
	}
	again, err := a.hidden(ctx, f, "The same again")
	if err != nil {
		return "", err
	}
	if v != again {
		return "", errors.New("the two are not the same")
	}
	return v, nil
}

func (a *app) hidden(ctx context.Context, f *os.File, question string) (string, error) {
	fmt.Fprintf(a.stderr, "%s: ", question)
	state, err := term.GetState(int(f.Fd()))
	if err != nil {
		return "", err
	}
	password, err := await(ctx, func() (string, error) {
		data, err := term.ReadPassword(int(f.Fd()))
		return string(data), err
	})
	fmt.Fprintln(a.stderr)
	if ctx.Err() != nil { // the read goes on, and would leave the terminal without echo
		err = errors.Join(ctx.Err(), term.Restore(int(f.Fd()), state))
	}
	return password, err
}

// atTerminal reports whether somebody looks at w.
func atTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}

// columns gives the width of the terminal behind w, or 0.
func columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0 // no terminal
	}
	return width
}

// color reports whether w may be written in colours.
func (a *app) color(w io.Writer) bool {
	return !a.flagNoColor && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb" && atTerminal(w)
}
